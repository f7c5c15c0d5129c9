//! Hostile input: for any input nothing panics, nothing unsigned reaches AWS, every answer is in the answer
//! table, and the cost grows no faster than the input.
//!
//! The checks are the testbed's. The fuzz targets in `fuzz/` run the same checks.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    sync::LazyLock,
};

use allocation_counter::measure;
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tar::Archive;
use titanx_receiver::{
    event::Event,
    gateway::Request,
    secrets::{parse_lines, parse_stored},
    signature::{KeyForm, Signature, Verifier, sign},
};
use titanx_testbed::{
    checks,
    emulators::{Emulators, Fault, Harm, SIGNING_SECRET, When},
    front_door::{Answer, deliver, environment, receiver, receiver_behind_proxies},
    samples,
    titanx::{completed_job, contact, envelope, request, signature, signed, signed_bytes},
};
use tokio::runtime::Runtime;

const MIB: usize = 1024 * 1024;

/// Runs `check` on this many inputs of `strategy`, and reports the smallest that fails.
fn for_all<S: Strategy>(cases: u32, strategy: &S, check: impl Fn(S::Value)) {
    let config = Config {
        cases,
        // An input that fails becomes a seed of the fuzz targets, or a test with a name.
        failure_persistence: None,
        ..Config::default()
    };
    let checked = TestRunner::new(config).run(strategy, |input| {
        check(input);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Text with characters that are difficult in JSON, in headers and in messages.
fn awkward() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "",
        "a",
        "é",
        "\u{FFFE}",
        "\u{FFFF}",
        "\0",
        "\u{1F600}",
        "\u{FEFF}",
        "\u{85}",
        "\"",
        "\\",
        "\r\n",
        " ",
        "=",
        "v2",
        "{",
        "[",
        "\u{7f}",
    ];
    prop_oneof![
        vec(select(PARTS), 0..6).prop_map(|parts| parts.concat()),
        any::<String>(),
    ]
}

/// The text of a JSON value, also of one that a `Value` cannot represent.
fn json_text() -> impl Strategy<Value = String> {
    const NUMBERS: &[&str] = &[
        "0",
        "-0",
        "-1",
        "1767614399999",
        "1767614400000",
        "4102444800000",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "1e5",
        "1.5e300",
        "-1E+300",
        "1e400",
        "4102444800000.5",
        "0.1",
        "01",
        "+1",
        "NaN",
    ];
    const OTHERS: &[&str] = &[
        "null",
        "true",
        "false",
        "\"\"",
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\u0000""#,
        r#""\uffff""#,
        r#""\u00""#,
        "\"v2\"",
        "\"job.completed\"",
        "\"job.contact.scored\"",
        "\"delivery-1\"",
        "tru",
        "",
    ];
    let leaf = prop_oneof![
        select(NUMBERS).prop_map(str::to_owned),
        select(OTHERS).prop_map(str::to_owned),
        awkward().prop_map(|text| Value::from(text).to_string()),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            vec((name(), inner), 0..6).prop_map(|members| object(&members)),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "payload",
        "eventType",
        "timestamp",
        "apiVersion",
        "id",
        "jobId",
        "jobName",
        "event\\u0054ype",
        "\\u0069d",
        "ID",
        "\\ud800",
    ];
    prop_oneof![
        4 => select(NAMES).prop_map(str::to_owned),
        1 => "[a-zA-Z]{0,8}",
    ]
}

/// Member names are not escaped: they may contain escapes.
fn object(members: &[(String, String)]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!(r#""{name}":{value}"#))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// An envelope whose members are valid, invalid, missing or duplicated, in any order.
fn near_envelope() -> impl Strategy<Value = String> {
    const PAYLOADS: &[&str] = &[
        r#"{"jobId":"job-1","jobStatus":"Finalized"}"#,
        r#"{"jobId":"job-1","jobName":null,"jobType":5}"#,
        r#"{"jobId":"","phone":"+1 202-555-0101"}"#,
        "{}",
        r#"{"jobId":"a","jobId":"b"}"#,
    ];
    const TYPES: &[&str] = &["\"job.contact.scored\"", "\"job.completed\""];
    let right = |text: &'static str| prop_oneof![6 => Just(text.to_owned()), 1 => json_text()];
    let member = |name: &'static str, value: BoxedStrategy<String>| {
        let times = prop_oneof![12 => Just(1_usize), 1 => Just(0), 1 => Just(2)];
        (times, value).prop_map(move |(times, value)| vec![(name.to_owned(), value); times])
    };
    let members = (
        member(
            "payload",
            prop_oneof![3 => select(PAYLOADS).prop_map(str::to_owned), 1 => json_text()].boxed(),
        ),
        member(
            "eventType",
            prop_oneof![6 => select(TYPES).prop_map(str::to_owned), 1 => json_text()].boxed(),
        ),
        member("timestamp", right("1767614400000").boxed()),
        member("apiVersion", right("\"v2\"").boxed()),
        member("id", right("\"delivery-1\"").boxed()),
        vec((name(), json_text()), 0..2),
    );
    members
        .prop_map(|(payload, kind, timestamp, version, id, more)| {
            [payload, kind, timestamp, version, id, more].concat()
        })
        .prop_shuffle()
        .prop_map(|members| object(&members))
}

/// `text` with bytes changed, inserted or removed.
fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((any::<Index>(), any::<u8>(), 0..4_u8), 0..3);
    (text, edits).prop_map(|(text, edits)| {
        let mut bytes = text.into_bytes();
        for (place, byte, edit) in edits {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match edit {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                2 => drop(bytes.remove(place)),
                _ => bytes.truncate(place),
            }
        }
        bytes
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

#[test]
fn any_bytes_as_signature_and_body_are_verified_or_refused() {
    for_all(512, &any_bytes(), |input| checks::signature(&input));
    let lengths = "(\\PC|[A-Za-z0-9+/=_-]){0,90}";
    for_all(512, &(awkward(), lengths, any_bytes()), |parts| {
        let (secret, header, body) = parts;
        let input = [secret.as_bytes(), header.as_bytes(), &body].join(&b'\n');
        checks::signature(&input);
    });
}

#[test]
fn a_signature_damaged_anywhere_is_refused() {
    let signed = (awkward(), any_bytes()).prop_flat_map(|(secret, body)| {
        let secret = secret.replace('\n', "");
        let header = damaged(Just(signature(&secret, &body)));
        (Just(secret), header, Just(body))
    });
    for_all(512, &signed, |(secret, header, body)| {
        checks::signature(&[secret.as_bytes(), &header, &body].join(&b'\n'));
    });
}

#[test]
fn any_signed_bytes_are_an_event_or_a_reason() {
    for_all(512, &any_bytes(), |input| checks::envelope(&input));
    for_all(512, &json_text(), |input| {
        checks::envelope(input.as_bytes());
    });
    for_all(2048, &near_envelope(), |input| {
        checks::envelope(input.as_bytes());
    });
    for_all(512, &damaged(near_envelope()), |input| {
        checks::envelope(&input);
    });
}

/// A gateway's event that is valid or almost valid.
fn near_event() -> impl Strategy<Value = Value> {
    let spelling = vec(any::<bool>(), 18).prop_map(|upper| {
        let name = "x-titanx-signature".chars().zip(upper);
        let spelt = |(letter, upper): (char, bool)| {
            if upper {
                letter.to_ascii_uppercase()
            } else {
                letter
            }
        };
        name.map(spelt).collect::<String>()
    });
    let header_value = prop_oneof![
        4 => Just(json!("SIGNATURE")),
        1 => Just(json!(["SIGNATURE"])),
        1 => Just(json!(["SIGNATURE", "SIGNATURE"])),
        1 => Just(json!([])),
        1 => Just(json!(["SIGNATURE", null])),
        1 => Just(json!(null)),
        1 => awkward().prop_map(Value::from),
        1 => awkward().prop_map(|text| json!([text])),
    ];
    let header_name = prop_oneof![4 => spelling, 1 => awkward()];
    let map = btree_map(header_name, header_value, 0..4).prop_map(|map| json!(map));
    let map = prop_oneof![6 => map, 1 => Just(json!(null)), 1 => Just(json!("headers"))];
    let body = prop_oneof![
        awkward(),
        near_envelope(),
        Just(contact("delivery-1")),
        any_bytes().prop_map(|bytes| STANDARD.encode(bytes)),
    ];
    let flag = select(vec![json!(true), json!(false), json!(null), json!("yes")]);
    let context = select(vec![json!({}), json!({"elb": {}}), json!(null), json!(5)]);
    (map.clone(), map, body, flag, context).prop_map(|(headers, many, body, flag, context)| {
        let signed = signature(SIGNING_SECRET, body.as_bytes());
        let mut event = json!({
            "headers": headers,
            "body": body,
            "isBase64Encoded": flag,
            "requestContext": context,
        });
        if many.is_object() {
            event["multiValueHeaders"] = many;
        }
        let event = event.to_string().replace("SIGNATURE", &signed);
        serde_json::from_str(&event).unwrap()
    })
}

#[test]
fn any_json_is_a_request_and_gets_an_answer() {
    for_all(512, &any_bytes(), |input| checks::gateway(&input));
    for_all(512, &json_text(), |input| checks::gateway(input.as_bytes()));
    for_all(1024, &near_event(), |input| {
        checks::gateway(input.to_string().as_bytes());
    });
    let damaged = damaged(near_event().prop_map(|event| event.to_string()));
    for_all(512, &damaged, |input| checks::gateway(&input));
}

#[test]
fn any_text_is_parsed_as_secrets_or_is_an_error() {
    for_all(512, &any_bytes(), |input| checks::secrets(&input));
    for_all(512, &json_text(), |input| checks::secrets(input.as_bytes()));
    let lists = vec(awkward(), 0..4).prop_map(|secrets| json!(secrets).to_string());
    for_all(512, &damaged(lists), |input| checks::secrets(&input));
    let lines = vec(awkward(), 0..4).prop_map(|secrets| secrets.join("\n"));
    for_all(512, &lines, |input| checks::secrets(input.as_bytes()));
}

/// The inputs of a fuzz target by name: its seeds, and the inputs that reached new code.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let seeds = fs::read_dir(fuzz.join("seeds").join(target)).unwrap();
    let mut inputs: Vec<_> = seeds
        .map(|seed| {
            let path = seed.unwrap().path();
            (path.display().to_string(), fs::read(&path).unwrap())
        })
        .collect();
    assert!(inputs.len() >= 8, "the seeds of {target} are missing");
    let archive = fuzz.join("corpus").join(target).with_extension("tar");
    let mut kept = Archive::new(File::open(&archive).unwrap());
    let kept = kept.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (format!("{}: {name}", archive.display()), content)
    });
    let kept: Vec<_> = kept.collect();
    // Fewer would mean a truncated archive: the smallest has had 86 from the start.
    assert!(kept.len() >= 80, "inputs of {target} are missing");
    inputs.extend(kept);
    inputs
}

#[test]
fn the_fuzzing_corpus_passes_its_checks() {
    type Check = fn(&[u8]);
    let targets: [(&str, Check); 4] = [
        ("signature", checks::signature),
        ("envelope", checks::envelope),
        ("gateway", checks::gateway),
        ("secrets", checks::secrets),
    ];
    for (target, check) in targets {
        for (name, input) in corpus(target) {
            let checked = std::panic::catch_unwind(|| check(&input));
            assert!(checked.is_ok(), "{name}");
        }
    }
}

/// The sample bodies.
fn samples() -> Vec<Vec<u8>> {
    let samples: Vec<_> = samples::bodies()
        .into_iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    assert!(samples.len() >= 6);
    samples
}

#[test]
fn a_truncated_body_is_not_an_event() {
    for sample in samples() {
        for length in 0..sample.len() {
            checks::envelope(&sample[..length]);
        }
        checks::envelope(&sample);
    }
}

#[test]
fn a_body_with_an_invalid_utf8_byte_is_not_an_event() {
    for sample in samples() {
        for place in 0..sample.len() {
            let mut body = sample.clone();
            body[place] = 0xff;
            checks::envelope(&body);
        }
    }
}

#[test]
fn timestamps_at_the_ends_of_the_range_overflow_nothing() {
    let ends = [
        "-9223372036854775808",
        "-9223372036854775809",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1e18",
        "1e19",
        "-1e19",
        "1e308",
        "-1e308",
        "1e309",
        "0",
        "-0",
        "-0.0",
        "5e-324",
        "1767614399999",
        "1767614399999.9999",
        "1767614400000",
    ];
    for end in ends.map(str::to_owned).into_iter().chain([
        "9".repeat(400),
        format!("0.{}", "0".repeat(10_000)),
        format!("1e{}", "9".repeat(10_000)),
    ]) {
        let body = contact("delivery-1").replace("4102444800000", &end);
        checks::envelope(body.as_bytes());
    }
}

/// Bodies of about this many bytes that are expensive to parse, by name.
fn costly(bytes: usize) -> Vec<(&'static str, String)> {
    let contact_of = |payload: &str| {
        envelope("delivery-1", "job.contact.scored", &json!({})).replace("{}", payload)
    };
    let text = |unit: &str| {
        let units = unit.repeat(bytes / unit.len());
        contact_of(&format!(r#"{{"notes":"{units}"}}"#))
    };
    let members = |unit: &str| {
        let units = unit.repeat(bytes / unit.len());
        contact_of(&format!(r#"{{{units}"last":0}}"#))
    };
    vec![
        ("plain text", text("x")),
        ("escapes", text(r"\u0041\n")),
        ("lone surrogates", text(r"\ud800")),
        ("what SQS refuses", text("\u{FFFE}")),
        ("brackets in text", text("[{")),
        ("backslashes", text(r"\\")),
        ("lists in lists", {
            let (open, close) = ("[".repeat(bytes / 2), "]".repeat(bytes / 2));
            contact_of(&format!(r#"{{"notes":{open}{close}}}"#))
        }),
        ("lists never closed", "[".repeat(bytes)),
        ("objects never closed", r#"{"a":"#.repeat(bytes / 5)),
        ("a doubled job", members(r#""jobId":"a","#)),
        ("one member again and again", members(r#""a":0,"#)),
        ("an envelope's member again and again", {
            format!("{{{}}}", r#""x":{},"#.repeat(bytes / 7))
        }),
        (
            "a long number",
            contact_of(&format!(r#"{{"a":{}}}"#, "9".repeat(bytes))),
        ),
        ("a long timestamp", {
            contact("delivery-1").replace("4102444800000", &"9".repeat(bytes))
        }),
        ("a long exponent", {
            contact("delivery-1").replace("4102444800000", &format!("1e{}", "9".repeat(bytes)))
        }),
        ("a long id", contact(&"d".repeat(bytes))),
        (
            "a long job",
            completed_job("delivery-1", &"j".repeat(bytes)),
        ),
        ("an escaped job", {
            completed_job("delivery-1", "JOB").replace("JOB", &r"\u006a".repeat(bytes / 6))
        }),
        (
            "blanks",
            format!("{}{}", " ".repeat(bytes), contact("delivery-1")),
        ),
        ("nothing of JSON", "x".repeat(bytes)),
    ]
}

#[test]
fn bodies_of_one_and_six_mebibytes_are_an_event_or_a_reason() {
    for bytes in [MIB, 6 * MIB] {
        for (_, body) in costly(bytes) {
            checks::envelope(body.as_bytes());
        }
        let garbage: Vec<_> = (0..bytes)
            .map(|place| u8::try_from(place * 31 % 256).unwrap())
            .collect();
        checks::envelope(&garbage);
    }
}

/// The memory that handling one body allocates: at most at once, and in total.
fn memory_of_a_body(body: &[u8]) -> (u64, u64) {
    let header = sign(SIGNING_SECRET, body);
    let secrets = Verifier::new([SIGNING_SECRET], &KeyForm::ALL);
    let measured = measure(|| {
        let signature = Signature::parse(&header).unwrap();
        let verified = secrets.verify(body, &signature, KeyForm::Whole).unwrap().0;
        drop(Event::parse(verified, checks::OLDEST_MS));
    });
    (measured.bytes_max, measured.bytes_total)
}

#[test]
fn the_memory_that_a_body_takes_is_linear_in_its_length() {
    for bytes in [MIB / 8, MIB] {
        for (name, body) in costly(bytes) {
            let (most, all) = memory_of_a_body(body.as_bytes());
            let length = body.len() as u64;
            // A text with escapes is collected in a buffer that doubles as it grows, and is then copied.
            assert!(most <= 4 * length + 4096, "{name}: {most} for {length}");
            assert!(all <= 6 * length + 8192, "{name}: {all} for {length}");
        }
    }
}

/// Events of about this many bytes that are expensive to parse, by name.
fn costly_events(bytes: usize) -> Vec<(&'static str, String)> {
    let header = r#""x-titanx-signature":"s","#;
    let repeated = header.repeat(bytes / header.len());
    let listed = r#""s","#.repeat(bytes / 4);
    let other = r#""a":"b","#.repeat(bytes / 8);
    vec![
        (
            "a long body",
            json!({"body": "x".repeat(bytes)}).to_string(),
        ),
        (
            "a body of escapes",
            format!(r#"{{"body":"{}"}}"#, r"\ud800".repeat(bytes / 6)),
        ),
        ("a body in Base64", {
            json!({"isBase64Encoded": true, "body": "AAAA".repeat(bytes / 4)}).to_string()
        }),
        ("no Base64 but for its end", {
            json!({"isBase64Encoded": true, "body": "A".repeat(bytes) + "!"}).to_string()
        }),
        (
            "signatures",
            format!(r#"{{"headers":{{{repeated}"z":""}}}}"#),
        ),
        ("a list of signatures", {
            format!(r#"{{"multiValueHeaders":{{"x-titanx-signature":[{listed}"s"]}}}}"#)
        }),
        ("headers", format!(r#"{{"headers":{{{other}"z":""}}}}"#)),
        ("a long signature", {
            json!({"headers": {"X-TitanX-Signature": "A".repeat(bytes)}}).to_string()
        }),
        (
            "a long name",
            format!(r#"{{"headers":{{"{}":""}}}}"#, r"\u0078".repeat(bytes / 6)),
        ),
        (
            "lists in lists",
            "[".repeat(bytes / 2) + &"]".repeat(bytes / 2),
        ),
        ("no known member", format!(r#"{{{other}"z":""}}"#)),
    ]
}

#[test]
fn the_memory_that_an_event_takes_is_linear_in_its_length() {
    for bytes in [MIB / 8, MIB] {
        for (name, event) in costly_events(bytes) {
            checks::gateway(event.as_bytes());
            let measured = measure(|| drop(Request::from_event(&event).unwrap()));
            let (most, all) = (measured.bytes_max, measured.bytes_total);
            let length = event.len() as u64;
            // A signature of one letter and its comma and quotes are 4 bytes, a `String` is 24.
            assert!(most <= 24 * length + 4096, "{name}: {most} for {length}");
            assert!(all <= 32 * length + 8192, "{name}: {all} for {length}");
        }
    }
}

#[test]
fn the_memory_that_secrets_take_is_linear_in_their_length() {
    for bytes in [MIB / 8, MIB] {
        for value in [
            "x".repeat(bytes),
            " ".repeat(bytes),
            "s\n".repeat(bytes / 2),
            format!("[{}\"s\"]", "\"s\",".repeat(bytes / 4)),
            "[".repeat(bytes),
        ] {
            let measured = measure(|| {
                drop(parse_lines(&value));
                drop(parse_stored(&value));
            });
            let length = value.len() as u64;
            assert!(measured.bytes_max <= 64 * length + 4096);
            assert!(measured.bytes_total <= 160 * length + 8192);
        }
    }
}

/// There are thousands of deliveries, so the runtime is created once.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

#[test]
fn an_unsigned_request_makes_no_call_to_aws() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    let unsigned = near_event().prop_map(|event| {
        // A signature with another secret replaces a valid one.
        let body = event["body"].as_str().unwrap().as_bytes();
        let (right, wrong) = (signature(SIGNING_SECRET, body), signature("other", body));
        serde_json::from_str(&event.to_string().replace(&right, &wrong)).unwrap()
    });
    let any_json = json_text().prop_filter_map("JSON", |text| serde_json::from_str(&text).ok());
    let both = prop_oneof![3 => unsigned, 1 => any_json];
    for_all(512, &both, |event: Value| {
        let answer = RUNTIME.block_on(deliver(&receiver, &event));
        assert_eq!(answer, Answer::refused(), "{event}");
    });
    assert_eq!(proxies.operations(), Vec::<String>::new());
    // The call counter works.
    RUNTIME.block_on(deliver(&receiver, &signed("nonsense")));
    assert_eq!(proxies.operations(), ["SendMessage"]);
}

#[test]
fn a_signed_request_is_stored_once_and_acknowledged() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let kept = || emulators.contacts.len() + emulators.quarantine.len() + emulators.jobs.len();
    let body = prop_oneof![
        near_envelope().prop_map(String::into_bytes),
        damaged(near_envelope()),
        any_bytes(),
    ];
    for_all(384, &body, |body| {
        let event = match String::from_utf8(body) {
            Ok(text) => signed(&text.replace("1767614400000", "4102444800000")),
            Err(error) => signed_bytes(error.as_bytes()),
        };
        emulators.deliveries.delete("delivery-1");
        emulators.jobs.delete("job-1");
        let before = kept();
        let answer = RUNTIME.block_on(deliver(&receiver, &event));
        assert!(
            answer.is_in_the_table() && answer.status == 200,
            "{answer:?}"
        );
        assert_ne!(answer, Answer::duplicate());
        assert_eq!(kept(), before + 1, "{event}");
    });
}

#[test]
fn with_every_third_call_failing_every_answer_is_in_the_table() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    for proxy in [&proxies.dynamodb, &proxies.sqs] {
        proxy.inject(When::Share(0.1), Fault::Before(Harm::Reset));
        proxy.inject(When::Share(0.1), Fault::After(Harm::Reset));
        proxy.inject(When::Share(0.1), Fault::Before(Harm::ServerError));
    }
    for_all(128, &near_event(), |event| {
        let signed_body = signed(event["body"].as_str().unwrap());
        for event in [event, signed_body] {
            let answer = RUNTIME.block_on(deliver(&receiver, &event));
            assert!(answer.is_in_the_table(), "{answer:?}");
        }
    });
}

#[test]
fn bodies_of_one_and_six_mebibytes_are_answered() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let bodies = costly(MIB)
        .into_iter()
        .chain(costly(6 * MIB).into_iter().take(1));
    for (name, body) in bodies {
        let refused = RUNTIME.block_on(deliver(&receiver, &request(&body, Some("x"))));
        assert_eq!(refused, Answer::refused(), "{name}");
        let answer = RUNTIME.block_on(deliver(&receiver, &signed(&body)));
        assert!(answer.is_in_the_table(), "{name}: {answer:?}");
        // With attributes, none fits into a message uncompressed, but each fits as gzip.
        assert_eq!(answer, Answer::quarantined(), "{name}");
    }
    let in_base64 = signed_bytes(&vec![0xff; 6 * MIB]);
    let answer = RUNTIME.block_on(deliver(&receiver, &in_base64));
    assert_eq!(answer, Answer::quarantined());
    assert_eq!(emulators.deliveries.len(), 0);
}
