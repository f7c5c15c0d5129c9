//! A stack in which all is well, and the same stack with each attribute of each resource wrong in turn,
//! at its limit.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_smithy_types::{DateTime, date_time::Format};
use http_body_util::Full;
use hyper::Response;
use serde_json::{Value, json};
use titanx_testbed::{
    emulators::Queue,
    server::{self, Server},
};

use crate::{
    control_plane::StackState,
    doctor::DoctorTest,
    operator::{Operator, Run},
};

const ROLE: &str = "arn:aws:iam::000000000000:role/receiver";
const TABLES: &str = "arn:aws:dynamodb:us-east-1:000000000000:table";
/// What the template gives both queues.
const QUEUE: [(&str, &str); 2] = [
    ("MessageRetentionPeriod", "1209600"),
    ("MaximumMessageSize", "1048576"),
];

/// A stack in which all is well. Resources hold what has to be put back after a change.
pub(crate) struct Well {
    pub(crate) test: DoctorTest,
    state: StackState,
    dead_letters: String,
}

/// A change of the stack.
pub(crate) type Change = fn(&Well);
/// What doctor finds of a change, as the subject and a part of the text.
pub(crate) type Finding = (&'static str, &'static str);

/// What DynamoDB answers about a table that is as the template has it.
fn table(name: &str, key: &str) -> Value {
    json!({
        "Table": {
            "TableName": name,
            "TableArn": format!("{TABLES}/{name}"),
            "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        },
        "TimeToLiveDescription": {"AttributeName": "expiration", "TimeToLiveStatus": "ENABLED"},
        "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"},
        },
    })
}

impl Well {
    pub(crate) fn new() -> Self {
        let mut test = DoctorTest::new();
        test.subscribe();
        test.operator = test
            .operator
            .clone()
            .set("AWS_ENDPOINT_URL_DYNAMODB", &test.control.url);
        let emulators = &test.system.emulators;
        let dead_letters = emulators.create_queue("dead-letters").arn();
        let policy = json!({"deadLetterTargetArn": dead_letters, "maxReceiveCount": 1000});
        let mut state = None;
        test.control.update(|it| {
            let hours = ("SilenceAlarmHours".to_owned(), "1".to_owned());
            it.parameters.extend([hours]);
            it.function["Role"] = ROLE.into();
            it.tables = BTreeMap::from([
                ("deliveries".to_owned(), table("deliveries", "delivery_id")),
                ("jobs".to_owned(), table("jobs", "job_id")),
            ]);
            state = Some(it.clone());
        });
        let well = Self {
            test,
            state: state.expect("it was read above"),
            dead_letters: policy.to_string(),
        };
        well.restore();
        well
    }

    /// Makes all well again.
    pub(crate) fn restore(&self) {
        self.control(|it| *it = self.state.clone());
        let emulators = &self.test.system.emulators;
        for queue in [
            &emulators.contacts,
            &emulators.contacts_fifo,
            &emulators.quarantine,
        ] {
            for (name, value) in QUEUE {
                queue.set_attribute(name, value);
            }
            queue.set_attribute("RedrivePolicy", &self.dead_letters);
        }
        emulators.contacts.set_attribute("FifoQueue", "false");
        emulators.contacts_fifo.set_attribute("FifoQueue", "true");
        let deduplication = "ContentBasedDeduplication";
        emulators
            .contacts_fifo
            .set_attribute(deduplication, "false");
        let subscriptions = self.test.system.api.subscriptions();
        emulators.secret.rotate(&subscriptions[0].secret);
        let resume = format!("resume {}", subscriptions[0].id);
        self.test.operator.run(&resume).exits(0);
    }

    fn control(&self, change: impl FnOnce(&mut StackState)) {
        self.test.control.update(change);
    }

    fn table(&self, name: &str, change: impl FnOnce(&mut Value)) {
        self.control(|it| change(it.tables.get_mut(name).expect("it is one of the two")));
    }

    fn variable(&self, name: &str, value: Option<&str>) {
        self.control(|it| {
            let variables = it.function["Environment"]["Variables"].as_object_mut();
            let variables = variables.expect("written as an object");
            match value {
                Some(value) => variables.insert(name.to_owned(), value.into()),
                None => variables.remove(name),
            };
        });
    }

    fn contacts(&self) -> &Queue {
        &self.test.system.emulators.contacts
    }

    fn quarantine(&self) -> &Queue {
        &self.test.system.emulators.quarantine
    }

    /// Makes the FIFO queue the one with this name among the stack's outputs.
    fn use_fifo(&self, output: &str) {
        let url = self.test.system.emulators.contacts_fifo.url.clone();
        self.control(|it| _ = it.outputs.insert(output.to_owned(), url));
    }

    /// Gives the stack a key of its own.
    fn use_key(&self) {
        let key = "arn:aws:kms:us-east-1:000000000000:key/a-key".to_owned();
        self.control(|it| _ = it.outputs.insert("KmsKeyArn".to_owned(), key));
    }

    fn logging(&self, name: &str, value: &str) {
        self.control(|it| it.function["LoggingConfig"][name] = value.into());
    }

    fn deny(&self, denied: &str) {
        self.control(|it| it.denied.push(denied.to_owned()));
    }
}

/// The findings that are not fine, as verdict, subject and text.
fn not_fine(run: &Run) -> Vec<[String; 3]> {
    let all = run.json();
    let all = all.as_array().expect("a list of findings").iter();
    let text = |it: &Value| it.as_str().expect("a text").to_owned();
    all.map(|it| [&it["verdict"], &it["subject"], &it["found"]].map(text))
        .filter(|it| it[0] != "fine")
        .collect()
}

fn doctor(operator: &Operator) -> Run {
    operator.run("--json doctor")
}

#[test]
fn nothing_is_wrong_with_a_stack_as_the_template_makes_it() {
    let well = Well::new();
    let run = doctor(&well.test.operator).exits(0);
    assert_eq!(not_fine(&run), <[[String; 3]; 0]>::default());
    let checked = run.json().as_array().unwrap().len();
    assert_eq!(checked, 34, "{}", run.stdout);
    let text = well.test.operator.run("doctor").exits(0).stdout;
    assert_eq!(
        text,
        format!("no problem, {checked} fine (--verbose shows them)\n")
    );
}

/// Values at a limit that are right, each of another resource than the others.
const STILL_WELL: [&[Change]; 2] = [
    &[
        |it| it.control(|it| it.function["Timeout"] = 7.into()),
        |it| it.control(|it| it.alarms[0]["StateValue"] = "INSUFFICIENT_DATA".into()),
        |it| it.use_fifo("ContactsQueueUrl"),
        |it| it.variable("SIGNING_KEY_FORM", Some("whole")),
        |it| it.logging("ApplicationLogLevel", "DEBUG"),
        Well::use_key,
    ],
    &[
        |it| it.control(|it| it.function["Timeout"] = 9.into()),
        |it| it.control(|it| it.function["MemorySize"] = 10_240.into()),
        |it| it.control(|it| _ = it.parameters.remove("DeliveryRetentionDays")),
        |it| it.contacts().set_attribute("MaximumMessageSize", "1048577"),
        |it| {
            it.quarantine()
                .set_attribute("MessageRetentionPeriod", "1209601");
        },
        |it| {
            it.test
                .system
                .emulators
                .secret
                .rotate("[\"wh_sk_synthetic_a\", \"whsec_synthetic_b\"]");
        },
    ],
];

#[test]
fn the_last_right_value_of_each_attribute_is_fine() {
    let well = Well::new();
    for changes in STILL_WELL {
        for change in changes {
            change(&well);
        }
        let run = doctor(&well.test.operator);
        assert_eq!(not_fine(&run), <[[String; 3]; 0]>::default());
        run.exits(0);
        well.restore();
    }
}

const MALFORMED: &str = "the value begins with '{', '[' or '\"', but is none of: a secret, a JSON array of \
                         secrets, a JSON object whose only member is a secret; the receiver answers \
                         every delivery with 503";
const EMPTY: &str = "a webhook secret is empty; the receiver answers every delivery with 503";

/// Each attribute of each resource, wrong by as little as possible. The changes of one round have
/// nothing to do with each other, and each is one problem.
pub(crate) const WRONG: [&[(Change, Finding)]; 10] = [
    &[
        (
            |it| it.control(|it| it.function["Timeout"] = 6.into()),
            ("function", "has a timeout of 6 s"),
        ),
        (
            |it| it.control(|it| it.function["MemorySize"] = 127.into()),
            ("function", "has 127 MB of memory"),
        ),
        (
            |it| it.variable("DELIVERIES_TABLE", None),
            (
                "function",
                "the configuration has mistakes: DELIVERIES_TABLE is missing",
            ),
        ),
        (
            |it| it.deny("dynamodb:PutItem"),
            (
                "permissions",
                "dynamodb:PutItem on arn:aws:dynamodb:us-east-1:000000000000:table/deliveries: denied",
            ),
        ),
        (
            |it| {
                it.table("deliveries", |it| {
                    it["Table"]["KeySchema"][0]["AttributeName"] = "id".into();
                });
            },
            ("deliveries table", "has the key id"),
        ),
        (
            |it| {
                it.table("jobs", |it| {
                    it["Table"]["KeySchema"][0]["AttributeName"] = "jobId".into();
                });
            },
            ("jobs table", "has the key jobId"),
        ),
        (
            |it| {
                it.contacts()
                    .set_attribute("MessageRetentionPeriod", "1209599");
            },
            ("contacts queue", "keeps messages for 13 days"),
        ),
        (
            |it| {
                it.quarantine()
                    .set_attribute("MessageRetentionPeriod", "1209599");
            },
            ("quarantine queue", "keeps messages for 13 days"),
        ),
        (
            |it| it.control(|it| it.alarms.clear()),
            ("alarms", "the stack has 0"),
        ),
        (
            |it| {
                it.test
                    .system
                    .emulators
                    .secret
                    .rotate("[\"wh_sk_a\", \"wh_sk_b\", \"wh_sk_c\"]");
            },
            ("secret", "3 secrets are live"),
        ),
    ],
    &[
        (
            |it| it.control(|it| it.function["Timeout"] = 10.into()),
            ("function", "has a timeout of 10 s"),
        ),
        (
            |it| it.variable("JOBS_TABLE", None),
            (
                "function",
                "the configuration has mistakes: JOBS_TABLE is missing",
            ),
        ),
        (
            |it| it.deny("dynamodb:DeleteItem"),
            (
                "permissions",
                "dynamodb:DeleteItem on arn:aws:dynamodb:us-east-1:000000000000:table/deliveries: denied",
            ),
        ),
        (
            |it| {
                it.table("deliveries", |it| {
                    it["Table"]["KeySchema"] = json!([
                        {"AttributeName": "delivery_id", "KeyType": "HASH"},
                        {"AttributeName": "sort", "KeyType": "RANGE"},
                    ]);
                });
            },
            ("deliveries table", "has the key delivery_id, sort"),
        ),
        (
            |it| {
                it.table("jobs", |it| {
                    it["Table"]["StreamSpecification"]["StreamEnabled"] = false.into();
                });
            },
            ("jobs table", "has no stream"),
        ),
        (
            |it| it.contacts().set_attribute("MaximumMessageSize", "1048575"),
            ("contacts queue", "accepts messages of up to 1048575 bytes"),
        ),
        (
            |it| {
                it.quarantine()
                    .set_attribute("MaximumMessageSize", "1048575");
            },
            (
                "quarantine queue",
                "accepts messages of up to 1048575 bytes",
            ),
        ),
        (
            |it| it.control(|it| it.alarms[0]["AlarmActions"] = json!([])),
            (
                "alarms",
                "titanx-receiver-QuarantineAlarm-1 has no enabled action",
            ),
        ),
        (
            |it| it.test.system.emulators.secret.rotate("wh_sk_synthetic\n"),
            (
                "secret",
                "has a newline around it, which the receiver ignores",
            ),
        ),
    ],
    &[
        (
            |it| it.control(|it| _ = it.function.as_object_mut().unwrap().remove("Timeout")),
            ("function", "has a timeout of 0 s"),
        ),
        (
            |it| it.variable("CONTACTS_QUEUE_URL", None),
            (
                "function",
                "the configuration has mistakes: CONTACTS_QUEUE_URL is missing",
            ),
        ),
        (
            |it| it.deny("dynamodb:UpdateItem"),
            (
                "permissions",
                "dynamodb:UpdateItem on arn:aws:dynamodb:us-east-1:000000000000:table/jobs: denied",
            ),
        ),
        (
            |it| {
                it.table("deliveries", |it| {
                    it["TimeToLiveDescription"]["TimeToLiveStatus"] = "DISABLED".into();
                });
            },
            ("deliveries table", "has no TTL attribute"),
        ),
        (
            |it| {
                it.table("jobs", |it| {
                    _ = it["Table"]
                        .as_object_mut()
                        .unwrap()
                        .remove("StreamSpecification");
                });
            },
            ("jobs table", "has no stream"),
        ),
        (
            |it| it.contacts().set_attribute("RedrivePolicy", "{}"),
            ("contacts queue", "dead-letter queue: none"),
        ),
        (
            |it| it.quarantine().set_attribute("RedrivePolicy", "{}"),
            ("quarantine queue", "dead-letter queue: none"),
        ),
        (
            |it| it.control(|it| it.alarms[0]["ActionsEnabled"] = false.into()),
            (
                "alarms",
                "titanx-receiver-QuarantineAlarm-1 has no enabled action",
            ),
        ),
        (
            |it| it.test.system.emulators.secret.rotate("{}"),
            ("secret", MALFORMED),
        ),
    ],
    &[
        (
            |it| it.variable("QUARANTINE_QUEUE_URL", None),
            (
                "function",
                "the configuration has mistakes: QUARANTINE_QUEUE_URL is missing",
            ),
        ),
        (
            |it| it.deny("sqs:SendMessage arn:aws:sqs:us-east-1:000000000000:contacts"),
            (
                "permissions",
                "sqs:SendMessage on arn:aws:sqs:us-east-1:000000000000:contacts: denied",
            ),
        ),
        (
            |it| {
                it.table("deliveries", |it| {
                    it["TimeToLiveDescription"]["TimeToLiveStatus"] = "DISABLING".into();
                });
            },
            ("deliveries table", "has no TTL attribute"),
        ),
        (
            |it| {
                it.table("jobs", |it| it["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] = "DISABLED".into());
            },
            ("jobs table", "has point-in-time recovery disabled"),
        ),
        (
            |it| it.contacts().set_attribute("FifoQueue", "true"),
            ("contacts queue", "is named as a standard queue"),
        ),
        (
            |it| it.control(|it| it.alarms[0]["StateValue"] = "ALARM".into()),
            (
                "alarms",
                "titanx-receiver-QuarantineAlarm-1 is in state ALARM: Redrive the queue.",
            ),
        ),
        (
            |it| it.control(|it| it.subscriptions.clear()),
            (
                "alarm topic",
                "has no subscriber, so nobody learns of an alarm",
            ),
        ),
        (
            |it| it.logging("ApplicationLogLevel", "WARN"),
            ("log", "has the application log level WARN"),
        ),
        (
            |it| it.test.system.emulators.secret.rotate("[]"),
            ("secret", EMPTY),
        ),
    ],
    &[
        (
            |it| it.variable("TITANX_WEBHOOK_SECRET_ARN", None),
            (
                "function",
                "the configuration has mistakes: neither TITANX_WEBHOOK_SECRET nor TITANX_WEBHOOK_SECRET_ARN is set: set one",
            ),
        ),
        (
            |it| it.control(|it| it.subscriptions = vec!["PendingConfirmation"]),
            (
                "alarm topic",
                "has no confirmed subscriber, so nobody learns of an alarm",
            ),
        ),
        (
            |it| it.logging("LogFormat", "Text"),
            ("log", "has the format Text"),
        ),
        (
            |it| it.deny("sqs:SendMessage arn:aws:sqs:us-east-1:000000000000:quarantine"),
            (
                "permissions",
                "sqs:SendMessage on arn:aws:sqs:us-east-1:000000000000:quarantine: denied",
            ),
        ),
        (
            |it| {
                it.table("deliveries", |it| {
                    it["TimeToLiveDescription"]["AttributeName"] = "expires".into();
                });
            },
            ("deliveries table", "has the TTL attribute expires"),
        ),
        (
            |it| {
                it.table("jobs", |it| {
                    _ = it["ContinuousBackupsDescription"]
                        .as_object_mut()
                        .unwrap()
                        .remove("PointInTimeRecoveryDescription");
                });
            },
            ("jobs table", "has point-in-time recovery disabled"),
        ),
        (
            |it| {
                it.use_fifo("ContactsQueueUrl");
                let fifo = &it.test.system.emulators.contacts_fifo;
                fifo.set_attribute("ContentBasedDeduplication", "true");
            },
            ("contacts queue", "deduplicates by content"),
        ),
        (
            |it| it.control(|it| _ = it.alarms[0].as_object_mut().unwrap().remove("AlarmActions")),
            (
                "alarms",
                "titanx-receiver-QuarantineAlarm-1 has no enabled action",
            ),
        ),
    ],
    &[
        (
            |it| it.variable("DELIVERY_RETENTION_DAYS", Some("6")),
            (
                "function",
                "the configuration has mistakes: DELIVERY_RETENTION_DAYS must be a whole number of at least 7",
            ),
        ),
        (
            |it| it.logging("LogGroup", "/aws/lambda/other"),
            ("log", "goes to /aws/lambda/other"),
        ),
        (
            |it| it.deny("secretsmanager:GetSecretValue"),
            (
                "permissions",
                "secretsmanager:GetSecretValue on SECRET: denied",
            ),
        ),
        (
            |it| {
                it.control(|it| {
                    _ = it
                        .parameters
                        .insert("DeliveryRetentionDays".to_owned(), "6".to_owned());
                });
            },
            (
                "deliveries table",
                "keeps the record of a delivery for 6 days",
            ),
        ),
        (
            |it| {
                it.use_fifo("ContactsQueueUrl");
                let fifo = &it.test.system.emulators.contacts_fifo;
                fifo.set_attribute("FifoQueue", "false");
            },
            ("contacts queue", "is named as a FIFO queue"),
        ),
    ],
    &[
        (
            |it| it.variable("SIGNING_KEY_FORM", Some("hex")),
            (
                "function",
                "the configuration has mistakes: SIGNING_KEY_FORM must be any, whole, without-prefix or decoded",
            ),
        ),
        (
            |it| it.use_fifo("QuarantineQueueUrl"),
            ("quarantine queue", "is a FIFO queue"),
        ),
        (
            |it| {
                let id = it.test.system.api.subscriptions()[0].id.clone();
                it.test.operator.run(&format!("pause {id} --yes")).exits(0);
            },
            (
                "subscription",
                "ID for this stack is inactive, so TitanX delivers no events",
            ),
        ),
    ],
    &[(
        |it| {
            it.use_key();
            it.deny("kms:Decrypt");
        },
        (
            "permissions",
            "kms:Decrypt on arn:aws:kms:us-east-1:000000000000:key/a-key: denied",
        ),
    )],
    &[(
        |it| {
            it.use_key();
            it.deny("kms:GenerateDataKey");
        },
        (
            "permissions",
            "kms:GenerateDataKey on arn:aws:kms:us-east-1:000000000000:key/a-key: denied",
        ),
    )],
    // Last, because the message stays.
    &[(
        |it| it.quarantine().put("{}", &[("reason", "not_envelope")]),
        ("quarantine queue", "holds about 1 messages"),
    )],
];

/// Except for a word that is longer, such as an ARN.
#[track_caller]
fn fits_eighty_columns(operator: &Operator) {
    let text = operator.clone().set("COLUMNS", "80");
    let text = text.run("doctor --verbose").exits(3).stdout;
    for line in text.lines().filter(|line| line.chars().count() > 80) {
        let words = line
            .split_whitespace()
            .filter(|it| !["→", "problem"].contains(it));
        assert_eq!(words.count(), 1, "{line}");
    }
    // No line ends before it has to.
    let lines: Vec<_> = text.lines().collect();
    for pair in lines.windows(2) {
        let more = pair[1].strip_prefix("         ");
        let more = more.filter(|more| !more.starts_with('→'));
        if let Some(word) = more.and_then(|more| more.split_whitespace().next()) {
            let width = pair[0].chars().count() + 1 + word.chars().count();
            assert!(width > 80, "{pair:#?}");
        }
    }
}

/// An ARN or a URL without its end names nothing.
#[test]
fn on_a_narrow_terminal_no_word_is_cut() {
    let well = Well::new();
    let words = |columns: &str| {
        let operator = well.test.operator.clone().set("COLUMNS", columns);
        let printed = operator.run("doctor --verbose").exits(0).stdout;
        let words = printed.split_whitespace().map(str::to_owned);
        // By how much the clock is off.
        let words = words.filter(|it| it.parse::<i64>().is_err());
        words.collect::<Vec<_>>()
    };
    let whole = words("10000");
    for columns in ["80", "40", "12"] {
        assert_eq!(words(columns), whole, "{columns}");
    }
}

#[test]
fn the_first_wrong_value_of_each_attribute_is_a_problem() {
    let well = Well::new();
    for round in WRONG {
        for (change, _) in round {
            change(&well);
        }
        let run = doctor(&well.test.operator);
        let found = not_fine(&run);
        let id = &well.test.system.api.subscriptions()[0].id;
        let secret = &well.test.system.emulators.secret.arn;
        for (_, (subject, text)) in round {
            let text = text.replace("ID for", &format!("{id} for"));
            let text = text.replace("SECRET:", &format!("{secret}:"));
            let of = found.iter().filter(|it| it[1] == *subject && it[2] == text);
            let verdicts: Vec<_> = of.map(|it| it[0].as_str()).collect();
            assert_eq!(verdicts, ["problem"], "{subject}: {text} in {found:#?}");
        }
        assert_eq!(found.len(), round.len(), "{found:#?}");
        run.exits(3);
        fits_eighty_columns(&well.test.operator);
        well.restore();
    }
}

#[test]
fn what_cannot_be_read_is_not_fine_and_a_note_is() {
    let well = Well::new();
    let unreadable = well
        .test
        .operator
        .clone()
        .set("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9");
    let run = doctor(&unreadable);
    let refused = "cannot read the alarms: tcp connect error: Connection refused (os error 111)";
    assert_eq!(not_fine(&run), [["unknown", "alarms", refused]]);
    run.exits(3);
    let text = unreadable.run("doctor").exits(3).stdout;
    assert!(text.contains("\nno problem, 1 unknown, "), "{text}");

    let without_key = well.test.operator.clone().set("TITANX_API_KEY", "");
    let run = without_key.run("--json doctor --api-key-file /nonexistent");
    let unreadable =
        "cannot read the API key from /nonexistent: No such file or directory (os error 2)";
    assert_eq!(not_fine(&run), [["unknown", "subscription", unreadable]]);
    run.exits(3);
    let run = doctor(&well.test.operator.clone().unset("TITANX_API_KEY"));
    let not_asked = "TitanX was not asked, because no API key is given";
    assert_eq!(not_fine(&run), [["note", "subscription", not_asked]]);
    run.exits(0);
}

/// As another implementation of a service may answer.
#[test]
fn what_an_answer_leaves_out_is_named() {
    let well = Well::new();
    let unknown = |table: &str, found: &str| {
        let all = not_fine(&doctor(&well.test.operator));
        let permissions = all.iter().find(|it| it[1] == "permissions").unwrap();
        assert_eq!(
            permissions[..],
            ["unknown", "permissions", found],
            "{table}"
        );
        well.restore();
    };
    for table in ["deliveries", "jobs"] {
        well.table(table, |it| {
            _ = it["Table"].as_object_mut().unwrap().remove("TableArn");
        });
        unknown(table, &format!("the table {table} has no ARN"));
        well.table(table, |it| _ = it.as_object_mut().unwrap().remove("Table"));
        unknown(table, &format!("there is no table {table}"));
    }
    let without = Server::start("sqs", |_| async { Some(server::json(200, &json!({}))) });
    let operator = well.test.operator.clone();
    let operator = operator.set("AWS_ENDPOINT_URL_SQS", &without.origin);
    let url = &well.contacts().url;
    let said = format!("the queue {url} has no ARN");
    let all = not_fine(&doctor(&operator));
    assert!(
        all.contains(&["unknown".to_owned(), "permissions".to_owned(), said]),
        "{all:?}"
    );
}

/// A gateway whose clock is off by so many seconds, and its webhook URL.
fn gateway(offset_s: i64) -> (String, Server) {
    let server = Server::start("clock", move |_| async move {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or(Duration::ZERO).as_secs();
        let date = DateTime::from_secs(now.cast_signed() + offset_s);
        let date = date.fmt(Format::HttpDate).expect("a date of this century");
        let response = Response::builder().status(404).header("date", date);
        Some(response.body(Full::default()).expect("a valid response"))
    });
    (format!("{}/webhooks/titanx", server.origin), server)
}

/// The date of an answer that comes slowly was right when it was written.
#[test]
fn a_slow_answer_makes_no_clock_wrong() {
    let slow = Server::start("slow", move |_| async move {
        let now = SystemTime::now();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let date = DateTime::from(now).fmt(Format::HttpDate);
        let response = Response::builder().status(404);
        let response = response.header("date", date.expect("a date of this century"));
        Some(response.body(Full::default()).expect("a valid response"))
    });
    let url = format!("{}/webhooks/titanx", slow.origin);
    let well = Well::new();
    let run = doctor(&well.test.operator.clone().set("WEBHOOK_URL", &url));
    let all = run.json();
    let mut all = all.as_array().unwrap().iter();
    let clock = all.find(|it| it["subject"] == "clock").unwrap();
    assert_eq!(clock["verdict"], "fine", "{clock}");
}

#[test]
fn a_clock_that_is_off_by_more_than_two_seconds_is_a_problem() {
    let well = Well::new();
    for (offset_s, expected) in [(-4, "problem"), (-2, "fine"), (2, "fine"), (4, "problem")] {
        let (url, _gateway) = gateway(offset_s);
        let run = doctor(&well.test.operator.clone().set("WEBHOOK_URL", &url));
        let all = run.json();
        let clock = all
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["subject"] == "clock");
        let clock = clock.unwrap();
        assert_eq!(clock["verdict"], expected, "{offset_s} s: {clock}");
        let found = clock["found"].as_str().unwrap();
        let off = found
            .strip_prefix("is off by ")
            .and_then(|it| it.strip_suffix(" ms"));
        let off_ms: Option<i64> = off.map(|it| it.parse().unwrap());
        // The header is in whole seconds.
        assert!(off_ms.unwrap_or(0) <= offset_s.abs() * 1_000, "{found}");
        assert!(expected == "fine" || off_ms.unwrap() > 2_000, "{found}");
    }
}
