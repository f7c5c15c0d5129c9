//! Subscriptions: `subscribe`, `rotate`, `subscriptions`, `pause`, `resume`, `delete`.

use tempfile::TempDir;
use titanx_testbed::emulators::{Fault, FaultProxy, Harm, When};

use super::Screens;
use crate::{
    System,
    operator::Operator,
    titanx_api::{Failure, Form, Subscription},
};

/// The operator with a Secrets Manager whose n-th write fails.
fn with_failing_write(system: &System, nth: usize) -> (Operator, FaultProxy) {
    let proxy = FaultProxy::start(&system.emulators.secrets_manager_url, 1);
    let fault = Fault::Before(Harm::ServerError);
    proxy.inject(When::NthOf(nth, "PutSecretValue"), fault);
    let operator = system.operator.clone();
    let operator = operator.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &proxy.url);
    (operator, proxy)
}

#[test]
fn subscribe() {
    let system = System::start(Form::Schema);
    let folder = TempDir::new().unwrap();
    let folder = folder.path().display().to_string();
    let mut screens = Screens::of(&system).with(&folder, "<folder>");
    let System { api, operator, .. } = &system;
    let in_file = format!("subscribe --secret-file {folder}/secret");
    let line = "subscribe --settle 0";

    screens.show("A new one, in a file", operator, &in_file);
    let again = format!("{in_file} --settle 0");
    screens.show("The same again", operator, &again);
    screens.show("One that another machine created", operator, line);
    screens.show("Another", operator, &format!("{line} --another"));
    screens.show_until(
        "Another, until the receiver accepts its secret",
        operator,
        "subscribe --another --settle 3600",
        "Waiting",
    );
    api.set_granted(&["job.contact.scored"]);
    let another = format!("{line} --another --skip-probe");
    screens.show("No job.completed is granted", operator, &another);
    api.set_granted(&["job.completed"]);
    screens.show("No contact is granted", operator, &another);
    api.put_subscriptions(&[]);
    api.set_granted(&["job.contact.scored", "job.completed"]);

    api.fail("POST /webhooks/", Failure::Status(409));
    let first = format!("{line} --skip-probe --secret-file {folder}/other");
    screens.show("The activation fails", operator, &first);
    screens.show("And the next run goes on", operator, &first);
    let id = api.only_subscription().id;
    operator.run(&format!("pause {id} --yes")).exits(0);
    let third = format!("{line} --skip-probe --secret-file {folder}/third");
    screens.show("One is paused", operator, &third);
    api.put_subscriptions(&[]);
    for (heading, nth) in [("The secret", 1), ("The ledger", 2)] {
        let (operator, _proxy) = with_failing_write(&system, nth);
        let heading = format!("{heading} cannot be written");
        screens.show(&heading, &operator, &another);
    }
    api.disable_management();
    screens.show(
        "TitanX does not list subscriptions",
        operator,
        &format!("{line} --skip-probe --secret-file {folder}/fourth"),
    );
    screens.show(
        "Something else answers at the URL",
        operator,
        &format!("{line} --url {}", api.url),
    );
    screens.compare("subscribe");
}

#[test]
fn rotate() {
    let system = System::start(Form::Schema);
    let folder = TempDir::new().unwrap();
    let folder = folder.path().display().to_string();
    let mut screens = Screens::of(&system).with(&folder, "<folder>");
    let System { api, operator, .. } = &system;
    let line = "rotate --settle 0 --skip-probe";

    let in_file = format!("{line} --secret-file {folder}/secret");
    screens.show("No secret is stored", operator, &in_file);
    screens.show("There is none to replace", operator, line);
    screens.show("A short grace period", operator, "rotate --grace 71");
    let subscribe = "subscribe --settle 0 --skip-probe";
    operator.run(subscribe).exits(0);
    let first = api.only_subscription();
    system.emulators.secret.rotate(&first.secret);

    api.fail("POST /webhooks/", Failure::Status(409));
    screens.show(
        "The activation fails",
        operator,
        &line.replace(" --skip-probe", ""),
    );
    screens.show("The next run goes on", operator, line);
    screens.show("The same in the grace period", operator, line);
    let at_once = format!("{line} --grace 0 --yes");
    screens.show("Without a grace period", operator, &at_once);

    operator.run(&format!("{subscribe} --another")).exits(0);
    let rotating = format!("{line} --grace 100");
    screens.show_until(
        "Two are replaced, once the receiver accepts the secret",
        operator,
        "rotate --grace 100 --settle 3600",
        "Waiting",
    );
    screens.show("Two are replaced", operator, &rotating);
    screens.show("Both are replaced at once", operator, &at_once);

    api.set_granted(&["job.contact.scored"]);
    screens.show("An event type is not granted", operator, line);
    let refused = api.subscriptions().last().unwrap().id.clone();
    operator.run(&format!("delete {refused} --yes")).exits(0);
    let accepted = format!("{line} --yes");
    screens.show("And that is accepted", operator, &accepted);
    operator.run(&at_once).exits(0);
    api.set_granted(&["job.contact.scored", "job.completed"]);

    let deactivation = format!("POST /webhooks/{}/inactive", api.active()[0].id);
    api.fail(&deactivation, Failure::Status(409));
    screens.show("The deactivation fails", operator, line);
    let old = api.active()[0].id.clone();
    operator.run(&format!("delete {old} --yes")).exits(0);
    screens.show("The old one was deleted meanwhile", operator, line);
    operator.run(&at_once).exits(0);

    for (heading, nth) in [("The secret", 1), ("The ledger", 2)] {
        let (operator, _proxy) = with_failing_write(&system, nth);
        let heading = format!("{heading} cannot be written");
        screens.show(&heading, &operator, line);
    }
    screens.compare("rotate");
}

#[test]
fn subscriptions() {
    let system = System::start(Form::Schema);
    let mut screens = Screens::of(&system);
    let System { api, operator, .. } = &system;
    let operator = &operator.clone().set("WEBHOOK_URL", "https://a.example/");
    screens.show("There is none", operator, "subscriptions");
    let put = |all: &[(&str, &str, bool)]| {
        let all = all.iter().map(|(id, url, active)| Subscription {
            id: (*id).to_owned(),
            url: (*url).to_owned(),
            events: ["job.contact.scored", "job.completed"]
                .map(str::to_owned)
                .into(),
            active: *active,
            secret: String::new(),
        });
        api.put_subscriptions(&all.collect::<Vec<_>>());
    };
    let ours = "https://a.example/";
    put(&[
        ("one", ours, true),
        ("two", ours, false),
        ("three", "https://b.example/", true),
    ]);
    screens.show("Three", operator, "subscriptions");
    screens.show("The only one", operator, "pause one");
    screens.show("One that is paused", operator, "pause two");
    screens.show("One of another URL", operator, "delete three");
    screens.show("One that TitanX does not know", operator, "delete four");
    screens.show("The same with --yes", operator, "delete four --yes");
    screens.show("One that is paused again", operator, "resume two");
    screens.show("One of several", operator, "delete one");
    screens.show("The same with --yes", operator, "delete one --yes");
    screens.show("The one that is left", operator, "pause two --yes");
    let unset = operator.clone().unset("WEBHOOK_URL");
    screens.show("The URL is unknown", &unset, "pause two");
    api.disable_management();
    screens.show("TitanX lists none", operator, "pause two");
    screens.show("And does not show them", operator, "subscriptions");
    screens.compare("subscriptions");
}
