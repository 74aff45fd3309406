//! The abbreviations of time zones that Postgres knows where `timezone_abbreviations` is `Default`.

use chrono_tz::Tz;

/// What an abbreviation stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql) enum Abbreviation {
    /// Standard time, as seconds east of UTC.
    Standard(i64),
    /// Summer time, as seconds east of UTC.
    Summer(i64),
    /// What it means at that time in a zone whose offsets changed.
    Dynamic(Tz),
}

/// The abbreviation that `word` is; in lower case.
pub(in crate::sql) fn abbreviation(word: &str) -> Option<Abbreviation> {
    let offset = |table: &[(&str, i64)]| {
        let at = table.binary_search_by_key(&word, |(name, _)| name).ok()?;
        table.get(at).map(|(_, seconds)| *seconds)
    };
    let dynamic = || {
        let at = DYNAMIC.binary_search_by_key(&word, |(name, _)| name).ok()?;
        DYNAMIC.get(at).map(|(_, zone)| Abbreviation::Dynamic(*zone))
    };
    offset(STANDARD).map(Abbreviation::Standard).or_else(|| offset(SUMMER).map(Abbreviation::Summer)).or_else(dynamic)
}

// Each table is sorted by name, for the search.

#[rustfmt::skip]
const STANDARD: &[(&str, i64)] = &[
    ("acst", 34_200), ("act", -18_000), ("acwst", 31_500), ("aest", 36_000), ("aft", 16_200),
    ("akst", -32_400), ("almt", 21_600), ("amt", -14_400), ("ast", -14_400), ("awst", 28_800),
    ("azot", -3_600), ("bdt", 21_600), ("bnt", 28_800), ("bort", 28_800), ("bot", -14_400), ("bra", -10_800),
    ("brt", -10_800), ("btt", 21_600), ("cast", 34_200), ("cct", 28_800), ("cet", 3_600), ("chast", 45_900),
    ("chut", 36_000), ("cot", -18_000), ("cst", -21_600), ("cxt", 25_200), ("ddut", 36_000), ("eat", 10_800),
    ("eet", 7_200), ("egt", -3_600), ("est", -18_000), ("fet", 10_800), ("fjt", 43_200), ("fnt", -7_200),
    ("galt", -21_600), ("gamt", -32_400), ("gft", -10_800), ("gilt", 43_200), ("gmt", 0), ("hkt", 28_800),
    ("hst", -36_000), ("ict", 25_200), ("irt", 12_600), ("ist", 7_200), ("jayt", 32_400), ("jst", 32_400),
    ("kst", 32_400), ("lhst", 37_800), ("ligt", 36_000), ("mart", -34_200), ("met", 3_600), ("mez", 3_600),
    ("mht", 43_200), ("mmt", 23_400), ("mpt", 36_000), ("mst", -25_200), ("mut", 14_400), ("mvt", 18_000),
    ("myt", 28_800), ("nft", -12_600), ("npt", 20_700), ("nst", -12_600), ("nzst", 43_200), ("nzt", 43_200),
    ("pet", -18_000), ("pgt", 36_000), ("pht", 28_800), ("pkt", 18_000), ("pmst", -10_800), ("pont", 39_600),
    ("pst", -28_800), ("pwt", 32_400), ("ret", 14_400), ("sast", 7_200), ("sct", 14_400), ("taht", -36_000),
    ("tft", 18_000), ("tjt", 18_000), ("tot", 46_800), ("trut", 36_000), ("tvt", 43_200), ("uct", 0),
    ("ut", 0), ("utc", 0), ("uyt", -10_800), ("uzt", 18_000), ("vut", 39_600), ("wakt", 43_200),
    ("wast", 25_200), ("wat", 3_600), ("wet", 0), ("wft", 43_200), ("wgt", -10_800), ("xjt", 21_600),
    ("yapt", 36_000), ("z", 0), ("zulu", 0),
];

#[rustfmt::skip]
const SUMMER: &[(&str, i64)] = &[
    ("acdt", 37_800), ("acsst", 37_800), ("adt", -10_800), ("aedt", 39_600), ("aesst", 39_600),
    ("akdt", -28_800), ("almst", 25_200), ("awsst", 32_400), ("azost", 0), ("bdst", 7_200), ("brst", -7_200),
    ("bst", 3_600), ("cadt", 37_800), ("cdt", -18_000), ("cest", 7_200), ("cetdst", 7_200), ("chadt", 49_500),
    ("clst", -10_800), ("edt", -14_400), ("eest", 10_800), ("eetdst", 10_800), ("egst", 0), ("fjst", 46_800),
    ("fnst", -3_600), ("idt", 10_800), ("kdt", 36_000), ("kgst", 21_600), ("mdt", -21_600), ("mest", 7_200),
    ("mesz", 7_200), ("metdst", 7_200), ("msd", 14_400), ("must", 18_000), ("ndt", -9_000), ("nzdt", 46_800),
    ("pdt", -25_200), ("pkst", 21_600), ("pmdt", -7_200), ("pyst", -10_800), ("sadt", 37_800),
    ("ulast", 32_400), ("uyst", -7_200), ("uzst", 21_600), ("wadt", 28_800), ("wdt", 32_400),
    ("wetdst", 3_600), ("wgst", -7_200), ("yekst", 21_600),
];

#[rustfmt::skip]
const DYNAMIC: &[(&str, Tz)] = &[
    ("amst", Tz::Asia__Yerevan), ("anast", Tz::Asia__Anadyr), ("anat", Tz::Asia__Anadyr),
    ("arst", Tz::America__Argentina__Buenos_Aires), ("art", Tz::America__Argentina__Buenos_Aires),
    ("azst", Tz::Asia__Baku), ("azt", Tz::Asia__Baku), ("ckt", Tz::Pacific__Rarotonga),
    ("clt", Tz::America__Santiago), ("davt", Tz::Antarctica__Davis), ("easst", Tz::Pacific__Easter),
    ("east", Tz::Pacific__Easter), ("fkst", Tz::Atlantic__Stanley), ("fkt", Tz::Atlantic__Stanley),
    ("gest", Tz::Asia__Tbilisi), ("get", Tz::Asia__Tbilisi), ("gyt", Tz::America__Guyana),
    ("iot", Tz::Indian__Chagos), ("irkst", Tz::Asia__Irkutsk), ("irkt", Tz::Asia__Irkutsk),
    ("kgt", Tz::Asia__Bishkek), ("kost", Tz::Pacific__Kosrae), ("krast", Tz::Asia__Krasnoyarsk),
    ("krat", Tz::Asia__Krasnoyarsk), ("lhdt", Tz::Australia__Lord_Howe), ("lint", Tz::Pacific__Kiritimati),
    ("lkt", Tz::Asia__Colombo), ("magst", Tz::Asia__Magadan), ("magt", Tz::Asia__Magadan),
    ("mawt", Tz::Antarctica__Mawson), ("msk", Tz::Europe__Moscow), ("novst", Tz::Asia__Novosibirsk),
    ("novt", Tz::Asia__Novosibirsk), ("nut", Tz::Pacific__Niue), ("omsst", Tz::Asia__Omsk),
    ("omst", Tz::Asia__Omsk), ("petst", Tz::Asia__Kamchatka), ("pett", Tz::Asia__Kamchatka),
    ("pyt", Tz::America__Asuncion), ("sgt", Tz::Asia__Singapore), ("tkt", Tz::Pacific__Fakaofo),
    ("tmt", Tz::Asia__Ashgabat), ("ulat", Tz::Asia__Ulaanbaatar), ("vet", Tz::America__Caracas),
    ("vlast", Tz::Asia__Vladivostok), ("vlat", Tz::Asia__Vladivostok), ("volt", Tz::Europe__Volgograd),
    ("yakst", Tz::Asia__Yakutsk), ("yakt", Tz::Asia__Yakutsk), ("yekt", Tz::Asia__Yekaterinburg),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_words_are_found() {
        assert!(STANDARD.is_sorted() && SUMMER.is_sorted() && DYNAMIC.is_sorted_by_key(|(name, _)| name));
        let check = |word, expect| assert_eq!(abbreviation(word), expect, "{word}");
        check("est", Some(Abbreviation::Standard(-18_000)));
        check("cest", Some(Abbreviation::Summer(7_200)));
        check("msk", Some(Abbreviation::Dynamic(Tz::Europe__Moscow)));
        check("z", Some(Abbreviation::Standard(0)));
        check("nowhere", None);
    }
}
