//! Tokens that the parser reads otherwise than Postgres, before it sees them.

use datafusion::sql::sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan, Word},
};

/// The tokens, as the parser takes them.
pub(super) fn spelled_out(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    typed_behind(blanks_trimmed(top_as_name(table(tokens))))
}

fn is_blank(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_))
}

fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// `TABLE x` is short for `SELECT * FROM x`; the parser reads it only at the end of a statement.
fn table(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut spelled = Vec::with_capacity(tokens.len());
    let mut begins_query = true;
    for token in tokens {
        if is_blank(&token) {
            spelled.push(token);
            continue;
        }
        let keyword = keyword(&token);
        if begins_query && keyword == Keyword::TABLE {
            for part in [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")] {
                spelled.push(TokenWithSpan { token: part, span: token.span });
            }
            begins_query = false;
            continue;
        }
        begins_query = token.token == Token::LParen
            || matches!(keyword, Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::ALL);
        spelled.push(token);
    }
    spelled
}

/// `top` is a name like any other in Postgres.
fn top_as_name(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    for token in &mut tokens {
        if keyword(token) == Keyword::TOP {
            let name = Word { value: "top".to_owned(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
            token.token = Token::Word(name);
        }
    }
    tokens
}

/// `trim(leading from x)` as `trim(leading ' ' from x)`.
fn blanks_trimmed(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut spelled: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        if keyword(&token) == Keyword::FROM {
            let mut before = spelled.iter().rev().filter(|token| !is_blank(token));
            let is_side = before
                .next()
                .is_some_and(|side| matches!(keyword(side), Keyword::LEADING | Keyword::TRAILING | Keyword::BOTH));
            let is_open = before.next().is_some_and(|open| open.token == Token::LParen);
            if is_side && is_open && before.next().is_some_and(|name| keyword(name) == Keyword::TRIM) {
                spelled.push(TokenWithSpan { token: Token::SingleQuotedString(" ".to_owned()), span: token.span });
            }
        }
        spelled.push(token);
    }
    spelled
}

/// `interval(3) 'text'` as `'text'::interval(3)`: the parser forgets the digits.
fn typed_behind(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut spelled: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let is_text = matches!(token.token, Token::SingleQuotedString(_));
        spelled.push(token);
        if !is_text {
            continue;
        }
        let places: Vec<usize> = (0..spelled.len()).rev().filter(|place| !is_blank(&spelled[*place])).take(5).collect();
        let [text, close, digits, open, name] = places.as_slice() else { continue };
        let is_typed = spelled[*close].token == Token::RParen
            && matches!(spelled[*digits].token, Token::Number(..))
            && spelled[*open].token == Token::LParen
            && keyword(&spelled[*name]) == Keyword::INTERVAL;
        if is_typed {
            let literal = spelled.remove(*text);
            let span = literal.span;
            spelled.insert(*name, TokenWithSpan { token: Token::DoubleColon, span });
            spelled.insert(*name, literal);
        }
    }
    spelled
}
