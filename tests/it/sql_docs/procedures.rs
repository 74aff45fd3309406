//! Postgres's functions as its catalogue has them, and how each stands to the library.

use std::collections::BTreeSet;

use pilaster::sql::differences::{DIFFERENCES, Difference, ENGINE_FUNCTIONS, Effect, signatures};

/// Names and types of the arguments.
pub(super) type Signatures = BTreeSet<(String, Vec<String>)>;

pub(super) fn library() -> Signatures {
    let read = |signature: &str| {
        let (name, rest) = signature.split_once('(')?;
        let (types, _) = rest.split_once(") ->")?;
        let types = types.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some((name.trim().to_owned(), types))
    };
    signatures().filter_map(read).collect()
}

/// How an overload stands to Postgres's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Same,
    Different,
    Missing,
}

impl Standing {
    pub(super) const ALL: [Self; 3] = [Self::Same, Self::Different, Self::Missing];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Same => "Same",
            Self::Different => "Different",
            Self::Missing => "Missing",
        }
    }
}

/// A heading, in the order of [`AREAS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area(pub(super) &'static str);

impl PartialOrd for Area {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Area {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let place = |area: &Self| AREAS.iter().position(|name| *name == area.0);
        place(self).cmp(&place(other))
    }
}

/// An overload of Postgres's.
pub(super) struct Procedure {
    pub(super) name: String,
    /// `pg_proc.prokind`, and of aggregates `pg_aggregate.aggkind`.
    kind: String,
    /// The last of a function that takes any number is `VARIADIC any`.
    pub(super) types: Vec<String>,
    result: String,
}

impl Procedure {
    /// Of a line of [`PROCEDURES`]; none for what no query over tables uses.
    pub(super) fn read(line: &str) -> Option<Self> {
        let [name, kind, types, result] = line.split('|').collect::<Vec<_>>().try_into().ok()?;
        let is_left_out = has(LEFT_OUT, name)
            || types.split(',').any(|name| has(INTERNAL, name))
            || LEFT_OUT_FAMILIES.split(' ').any(|family| name.starts_with(family)) && !has(KEPT, name);
        (!is_left_out).then(|| Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            types: types.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            result: result.to_owned(),
        })
    }

    pub(super) fn standing(&self, library: &Signatures) -> Standing {
        let differs = |difference: &Difference| {
            difference.effect == Effect::Different && difference.functions().any(|name| name == self.name)
        };
        // What Postgres makes text of by itself, the library takes as text.
        let softened = self.types.iter().map(|name| match name.as_str() {
            "bpchar" | "varchar" | "name" | "jsonpath" => "text".to_owned(),
            _ => name.clone(),
        });
        let is_librarys = |types: Vec<String>| library.contains(&(self.name.clone(), types));
        let is_engines = ENGINE_FUNCTIONS.iter().any(|function| {
            *function == format!("{}({})", self.name, self.types.join(", "))
                || *function == self.name
                    && self.types.iter().all(|name| has(HAVE_VALUES, name.trim_start_matches("VARIADIC ")))
        });
        if DIFFERENCES.iter().any(differs) {
            Standing::Different
        } else if is_librarys(self.types.clone()) || is_librarys(softened.collect()) || is_engines {
            Standing::Same
        } else {
            Standing::Missing
        }
    }

    pub(super) fn area(&self) -> Area {
        let of =
            |list: &str| self.types.iter().chain([&self.result]).any(|name| has(list, name.trim_end_matches("[]")));
        let named = |list: &str| list.split(' ').any(|name| self.name.starts_with(name));
        Area(match self.kind.as_str() {
            "w" => "Window functions",
            "an" => "Aggregates",
            "ao" | "ah" => "Ordered-set aggregates",
            _ if named("ts_ tsvector_ tsquery_") || of("tsvector tsquery regconfig regdictionary") => "Text search",
            _ if named("xml xpath") || of("xml") => "XML",
            _ if of("point line lseg box path polygon circle") => "Geometry",
            _ if of("inet cidr macaddr macaddr8") => "Network addresses",
            _ if named("range_ multirange") || of(RANGES) => "Ranges",
            _ if of("bit varbit") => "Bit strings",
            _ if of("json jsonb jsonpath") => "JSON",
            _ if of("anyenum") => "Enums",
            _ if of("uuid") => "UUID",
            _ if named("array_ cardinality trim_array unnest generate_subscripts") => "Arrays",
            _ if of("date time timetz timestamp timestamptz interval") => "Dates and times",
            _ if named("timeofday") => "Dates and times",
            _ if named("regexp_") => "Patterns",
            _ if of("bytea") => "Binary strings",
            _ if named("to_char to_number to_hex") => "Numbers",
            _ if of("text name bpchar varchar") => "Text",
            _ if of("int2 int4 int8 float4 float8 numeric") => "Numbers",
            _ => "Other",
        })
    }
}

/// Whether `name` is one of the names in `list`.
fn has(list: &str, name: &str) -> bool {
    list.split(' ').any(|one| one == name)
}

const AREAS: &[&str] = &[
    "Numbers",
    "Text",
    "Patterns",
    "Binary strings",
    "Dates and times",
    "JSON",
    "Arrays",
    "Enums",
    "UUID",
    "Aggregates",
    "Ordered-set aggregates",
    "Window functions",
    "Ranges",
    "Geometry",
    "Network addresses",
    "Text search",
    "XML",
    "Bit strings",
    "Other",
];

const RANGES: &str = "\
    anyrange anymultirange anycompatiblerange anycompatiblemultirange int4range int8range numrange tsrange \
    tstzrange daterange int4multirange int8multirange nummultirange tsmultirange tstzmultirange datemultirange";

/// Types that the engine has values of, and pseudo-types that stand for them.
const HAVE_VALUES: &str = "\
    bool int2 int4 int8 float4 float8 numeric text varchar bpchar name bytea date time timestamp timestamptz \
    interval uuid json jsonb jsonpath float8[] any anyelement anynonarray anyarray anyenum anycompatible \
    anycompatiblearray";

/// Types of the server's own tables.
const INTERNAL: &str = "\
    oid xid xid8 tid cid pg_lsn aclitem[]";

/// Beginnings of the names of functions about the server, its sessions and its objects, and of those that run SQL by name.
const LEFT_OUT_FAMILIES: &str = "\
    pg_ has_ lo_ txid_ brin_ gin_ inet_client_ inet_server_ to_reg database_to_xml schema_to_xml table_to_xml \
    query_to_xml cursor_to_xml numeric_ similar_";
/// What is in one of the families by its name alone.
const KEPT: &str = "\
    pg_typeof pg_size_pretty pg_size_bytes";

/// The same, one by one; and names that the documentation of Postgres does not have, such as what operators and rewritings call.
const LEFT_OUT: &str = "\
    acldefault aclexplode amvalidate col_description current_database current_query current_schema current_schemas \
    current_setting current_user currtid2 currval format_type get_current_ts_config getdatabaseencoding \
    getpgusername lastval loread lowrite makeaclitem mxid_age nextval obj_description postgresql_fdw_validator \
    row_security_active satisfies_hash_partition session_user set_config setval shobj_description ts_stat version \
    xmlvalidate cash_words dexp dlog1 dlog10 dround dtrunc enum_send int4inc int8_sum ishorizontal isparallel isperp \
    isvertical like like_escape nameconcatoid notlike oidvectortypes text textlen timestamp timestamptz";

/// Name, kind, types of the arguments, type of the result. Functions that only serve others are left out, unless the documentation has
/// them by name.
pub(super) const PROCEDURES: &str = "
    WITH serving AS (
        SELECT unnest(ARRAY[oprcode, oprrest, oprjoin]::oid[]) AS function FROM pg_operator
        UNION SELECT castfunc FROM pg_cast
        UNION SELECT unnest(ARRAY[typinput, typoutput, typreceive, typsend, typmodin, typmodout, typanalyze, typsubscript]::oid[])
              FROM pg_type
        UNION SELECT unnest(ARRAY[rngcanonical, rngsubdiff]::oid[]) FROM pg_range
        UNION SELECT amhandler FROM pg_am
        UNION SELECT amproc FROM pg_amproc
        UNION SELECT unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn, aggminvtransfn,
                                  aggmfinalfn]::oid[]) FROM pg_aggregate
        UNION SELECT conproc FROM pg_conversion
        UNION SELECT unnest(ARRAY[lanplcallfoid, laninline, lanvalidator]) FROM pg_language
        UNION SELECT unnest(ARRAY[tmplinit, tmpllexize]::oid[]) FROM pg_ts_template
        UNION SELECT unnest(ARRAY[prsstart, prstoken, prsend, prsheadline, prslextype]::oid[]) FROM pg_ts_parser
        UNION SELECT prosupport FROM pg_proc
    ), named AS (
        SELECT oid, CASE WHEN typcategory = 'A' AND typname LIKE E'\\\\_%' THEN substr(typname, 2) || '[]' ELSE typname END AS name
        FROM pg_type
    )
    SELECT p.proname, p.prokind::text || coalesce(a.aggkind::text, ''),
           (SELECT string_agg(CASE WHEN p.provariadic <> 0 AND t.place = p.pronargs THEN 'VARIADIC any' ELSE n.name END, ',' ORDER BY place)
            FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, place) JOIN named n ON n.oid = t.type),
           (SELECT name FROM named WHERE oid = p.prorettype)
    FROM pg_proc p LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a', 'w')
      AND (p.oid NOT IN (SELECT function FROM serving)
           OR p.proname IN ('array_append', 'array_cat', 'array_prepend', 'bound_box', 'inet_merge', 'inet_same_family', 'isempty',
                            'json_extract_path', 'json_extract_path_text', 'jsonb_extract_path', 'jsonb_extract_path_text',
                            'range_merge', 'starts_with'))
      AND p.prorettype NOT IN (SELECT oid FROM pg_type
                               WHERE typtype = 'p' AND typname ~ '^(internal|trigger|event_trigger|cstring|void|.*_handler)$')
      AND NOT ARRAY['internal'::regtype, 'cstring'::regtype]::oid[] && p.proargtypes::oid[]
    ORDER BY 1, 3";
