//! What a statement is known by, whatever its values.

use datafusion::sql::sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Token, Tokenizer},
};

/// More text than this is hashed as it is.
const BYTES_MAX: usize = 256 << 10;

/// Sixteen hexadecimal digits that are equal for statements which differ in literals, white space, comments and the case of words alone.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    let tokens =
        (text.len() <= BYTES_MAX).then(|| Tokenizer::new(&PostgreSqlDialect {}, text).tokenize().ok()).flatten();
    let mut hasher = blake3::Hasher::new();
    let Some(tokens) = tokens else {
        hasher.update(text.as_bytes());
        return shortened(&hasher);
    };
    for token in tokens {
        match token {
            Token::Whitespace(_) | Token::SemiColon => continue,
            Token::Word(word) if word.quote_style.is_none() => hasher.update(word.value.to_lowercase().as_bytes()),
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_) => hasher.update(b"?"),
            other => hasher.update(other.to_string().as_bytes()),
        };
        hasher.update(b"\0");
    }
    shortened(&hasher)
}

fn shortened(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_spelling_are_no_part_of_it() {
        let check = |left: &str, right: &str, expect: bool| {
            assert_eq!(fingerprint(left) == fingerprint(right), expect, "{left} | {right}");
        };
        check("SELECT a FROM t WHERE x = 1", "select  a\nfrom T where x=25.5 -- why\n;", true);
        check("SELECT 'secret'", "SELECT $$other$$", true);
        check("SELECT a FROM t", "SELECT b FROM t", false);
        check("SELECT \"A\"", "SELECT \"a\"", false);
        check("SELECT ab", "SELECT a b", false);
        check("SELECT 'open", "SELECT 'open", true);
        assert_eq!(fingerprint("SELECT 1").len(), 16);
    }
}
