//! A program with the function's log whose code panics, with a payload in the message.

use std::process::{Command, Stdio};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use titanx_receiver::{
    aws::{Aws, AwsConfig, HttpPool},
    config::Config,
    deliveries::Deliveries,
    log,
    queue::Queue,
    shutdown::Shutdown,
};
use titanx_testbed::{
    emulators::Emulators,
    front_door::{deliver, environment},
    titanx::signed,
};

use super::{EVENT_TYPES, PERSONAL, body};

/// What the started program is told to run, and nothing else.
const PROGRAM: [&str; 4] = [
    "--exact",
    "secrecy::panics::the_program_that_panics",
    "--ignored",
    "--nocapture",
];

/// Everything that the program says.
pub(super) fn disclosures() -> Vec<String> {
    let this = std::env::current_exe().expect("the tests are a program");
    let mut program = Command::new(this);
    let program = program.args(PROGRAM).stdin(Stdio::null());
    let output = program.output().expect("it can be started again");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
    let said = text(output.stdout) + &text(output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    said.lines().map(str::to_owned).collect()
}

/// Connectors on which every request panics, as a mistake anywhere in the program would. The message
/// quotes the request.
#[derive(Debug)]
enum Panicking {
    /// As the standard library quotes a string that is cut inside a character.
    Cut,
    /// As it quotes the error of a `Result`.
    Unwrap,
}

impl HttpConnector for Panicking {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let text = String::from_utf8_lossy(request.body().bytes().unwrap_or_default());
        let name = PERSONAL[1];
        match self {
            Self::Cut => {
                let inside = name.char_indices().find(|(_, it)| !it.is_ascii());
                let (inside, _) = inside.expect("one character is longer than a byte");
                panic!("{}", &name[..=inside])
            }
            Self::Unwrap => {
                let failed: Result<HttpConnectorFuture, String> = Err(format!("{name} {text}"));
                #[expect(
                    clippy::unnecessary_literal_unwrap,
                    reason = "its text is what is searched"
                )]
                failed.unwrap()
            }
        }
    }
}

fn panicking(how: fn() -> Panicking, config: &AwsConfig) -> Aws {
    Aws::new(
        HttpPool::new(move || SharedHttpConnector::new(how())),
        config,
    )
    .unwrap()
}

#[test]
#[ignore = "the search for confidential fragments starts it as a process"]
fn the_program_that_panics() {
    log::init(Some("TRACE"), &Shutdown::default());
    let emulators = Emulators::start();
    let environment = environment(&emulators);
    let config = Config::from_env(|name| environment.get(name).cloned()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let event = signed(&body("id-1", EVENT_TYPES[0]));
    let (mut receiver, aws) = config.clone().build().unwrap();
    let (table, queue) = (
        &environment["DELIVERIES_TABLE"],
        &environment["CONTACTS_QUEUE_URL"],
    );
    let retention = receiver.intake.deliveries.retention();
    let deliveries = |aws: &Aws| Deliveries::new(aws.dynamodb(), table.clone(), retention);
    let answers = runtime.block_on(async {
        receiver.intake.deliveries = deliveries(&panicking(|| Panicking::Unwrap, &config.aws));
        let claim = deliver(&receiver, &event).await;
        receiver.intake.deliveries = deliveries(&aws);
        let sqs = panicking(|| Panicking::Cut, &config.aws).sqs();
        receiver.intake.contacts = Queue::new(sqs, queue.clone());
        [claim, deliver(&receiver, &event).await]
    });
    for answer in answers {
        assert_eq!(answer.status, 503);
        assert!(answer.is_in_the_table(), "{answer:?}");
    }
}
