use std::io::{self, Read};

use proptest::{prop_assert, prop_assert_eq};

use super::scan::DEEPEST;
use super::*;

/// Returns one byte at a time, so that every position is the edge of a buffer.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let [first, rest @ ..] = self.0 else {
            return Ok(0);
        };
        buffer[0] = *first;
        self.0 = rest;
        Ok(1)
    }
}

fn told(values: &mut Values<impl Read>) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(Piece {
        line,
        column,
        key,
        content,
    }) = values.next().unwrap()
    {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\n', " ");
        let what = match content {
            Content::Whole(bytes) => text(bytes),
            Content::TooLong => "too long".to_owned(),
            Content::Broken { start, why } => format!("!{why}: {}", text(start)),
            Content::Incomplete(what) => format!("?{what}"),
        };
        told.push(format!("{line}:{column} {key}{what}"));
    }
    told
}

#[track_caller]
fn splits(text: &str, expected: &[&str]) {
    splits_as(Shape::Documents, text, expected);
}

#[track_caller]
fn splits_as(shape: Shape, text: &str, expected: &[&str]) {
    assert_eq!(
        told(&mut Values::new(text.as_bytes(), shape).unwrap()),
        expected,
        "{text}"
    );
    assert_eq!(
        told(&mut Values::new(Drops(text.as_bytes()), shape).unwrap()),
        expected,
        "byte by byte: {text}"
    );
}

#[test]
fn documents_are_found_one_a_line_pretty_printed_in_arrays_and_in_search_answers() {
    splits("", &[]);
    splits(" \n\u{feff}\n", &[]);
    splits(
        "{\"a\":1}\n\n{\"b\":[{}]}\r\n{}",
        &["1:1 {\"a\":1}", "3:1 {\"b\":[{}]}", "4:1 {}"],
    );
    splits(
        "\u{feff}{\"a\":\"}\\\"{\"}{\"b\":2}\n\u{feff}{}",
        &["1:4 {\"a\":\"}\\\"{\"}", "1:16 {\"b\":2}", "2:4 {}"],
    );
    splits(
        "{\n  \"a\": {\n    \"b\": []\n  }\n}\n{\n}\n",
        &["1:1 {   \"a\": {     \"b\": []   } }", "6:1 { }"],
    );
    splits(
        "[\n  {\"a\":1},\n  {\"b\":2}\n]\n{\"c\":3}\n[]",
        &["2:3 {\"a\":1}", "3:3 {\"b\":2}", "5:1 {\"c\":3}"],
    );
    splits("[1, \"x\", []]", &["1:2 1", "1:5 \"x\"", "1:10 []"]);
    let answer = r#"{"took":3,"timed_out":false,"_shards":{"total":1,"failed":0},"hits":{"total":TOTAL,"hits":[{"_source":{}},{"_id":"x"}]},"x":[1]}"#;
    splits(
        &answer.replace("TOTAL", "2      "),
        &["1:94 {\"_source\":{}}", "1:109 {\"_id\":\"x\"}"],
    );
    splits(
        &format!(
            "{}\n{{}}",
            answer.replace("TOTAL", "{\"value\":3,\"relation\":\"eq\"}")
        ),
        &[
            "1:114 {\"_source\":{}}",
            "1:129 {\"_id\":\"x\"}",
            "1:1 ?the search response holds 2 of 3 documents: save the others as well, or use --from-index",
            "2:1 {}",
        ],
    );
    splits(
        &answer
            .replace("TOTAL", "0")
            .replace("\"failed\":0", "\"failed\":1"),
        &[
            "1:88 {\"_source\":{}}",
            "1:103 {\"_id\":\"x\"}",
            "1:1 ?the search response is incomplete: 1 shards failed or it timed out",
        ],
    );
    // In any order.
    splits(
        r#"{"hits":{"hits":[{}],"total":2},"timed_out":false}"#,
        &[
            "1:18 {}",
            "1:1 ?the search response holds 1 of 2 documents: save the others as well, or use --from-index",
        ],
    );
    // Hits that are not those of a search response.
    splits(
        r#"{"x":{"hits":{"hits":[{}]}}}"#,
        &[r#"1:1 {"x":{"hits":{"hits":[{}]}}}"#],
    );
    splits(
        r#"{"hits":[{"hits":[]}]}"#,
        &[r#"1:1 {"hits":[{"hits":[]}]}"#],
    );
    splits(
        r#"{"hits":{"x":{"hits":[]}}}"#,
        &[r#"1:1 {"hits":{"x":{"hits":[]}}}"#],
    );
}

#[test]
fn what_is_broken_spoils_no_other_line() {
    splits(
        "not JSON\n{}",
        &["1:1 !an unexpected character: not JSON", "2:1 {}"],
    );
    splits(
        "a,b\n1,2\n3,4",
        &["1:1 !an unexpected character; skipped up to line 3: a,b"],
    );
    splits(
        "{\"a\":\"b\n{}",
        &[
            "1:1 !a string does not end on its line: {\"a\":\"b",
            "2:1 {}",
        ],
    );
    splits(
        "{\"a\":1,\n{}\n{}",
        &[
            "1:1 !an unexpected character: {\"a\":1, ",
            "2:1 {}",
            "3:1 {}",
        ],
    );
    splits(
        "{} x\n{}",
        &["1:1 {}", "1:4 !an unexpected character: x", "2:1 {}"],
    );
    splits(
        "{\"a\":1",
        &["1:1 !the file ends in the middle of it: {\"a\":1"],
    );
    splits(
        "[{}, {\"a\"",
        &[
            "1:2 {}",
            "1:6 !the file ends in the middle of it: {\"a\"",
            "1:10 !the file ends before the list of documents does: ",
        ],
    );
    splits(
        "[\n{\"a\":}\n{}\n]\n{\"b\":1}",
        &[
            "2:1 !an unexpected character: {\"a\":}",
            "3:1 {}",
            "5:1 {\"b\":1}",
        ],
    );
    splits("]", &["1:1 !an unexpected character: ]"]);
    let deep = format!("{}\n{{}}", "{\"a\":[".repeat(DEEPEST));
    let told = told(&mut Values::new(deep.as_bytes(), Shape::Documents).unwrap());
    assert!(
        told.len() == 2 && told[0].starts_with("1:1 !nested too deep"),
        "{} pieces",
        told.len()
    );
}

#[test]
fn members_come_with_their_keys() {
    let object = "{\n \"a\": {\"x\": 1},\n \"\\u0062\" : 7 }";
    splits_as(Shape::Members, object, &["2:2 a{\"x\": 1}", "3:2 b7"]);
    splits_as(Shape::Members, "[]", &["1:1 !an unexpected character: []"]);
    splits_as(
        Shape::Members,
        "{\"a\":1",
        &[
            "1:2 a1",
            "1:7 !the file ends before the list of documents does: ",
        ],
    );
    splits_as(Shape::Members, "{}{}", &[]);
}

#[test]
fn a_document_that_is_too_long_is_passed_over() {
    let long = |bytes: usize| io::repeat(b'x').take(bytes as u64);
    let text = "{\"a\":\""
        .as_bytes()
        .chain(long(LONGEST))
        .chain("\"}\n{}".as_bytes());
    assert_eq!(
        told(&mut Values::new(text, Shape::Documents).unwrap()),
        ["1:1 too long", "2:1 {}"]
    );
}

#[test]
fn utf_16_is_refused_with_the_way_out() {
    for bytes in [&b"\xff\xfe{\0"[..], b"\xfe\xff\0{", b"{\0}\0", b"\0{\0}"] {
        let error = Values::new(bytes, Shape::Documents).map(drop).unwrap_err();
        assert!(error.to_string().contains("iconv -f UTF-16"), "{error}");
    }
}

/// Where a buffer ends makes no difference, whatever the text is; and there are no more pieces than bytes.
#[test]
fn fuzz_texts() {
    // How much is quoted of what is broken depends on the buffer.
    let unquoted = |piece: String| match piece.split_once(": ") {
        Some((why, _)) if why.contains('!') => why.to_owned(),
        _ => piece,
    };
    crate::fuzzing::check("import-texts", |text| {
        for shape in [|| Shape::Members, || Shape::Documents] {
            let (Ok(mut whole), Ok(mut drops)) = (
                Values::new(text, shape()),
                Values::new(Drops(text), shape()),
            ) else {
                continue;
            };
            let whole: Vec<String> = told(&mut whole).into_iter().map(unquoted).collect();
            let drops: Vec<String> = told(&mut drops).into_iter().map(unquoted).collect();
            prop_assert!(whole.len() <= text.len() + 1);
            prop_assert_eq!(whole, drops);
        }
        Ok(())
    });
}
