//! `template.yaml` deploys the healer as its code expects, and nothing of it unless it is enabled. Its role, alarms and
//! filters are in `runbook`.

use serde_json::{Value, json};

use crate::template::{properties, read, template};

const RESOURCES: [&str; 14] = [
    "HealerFunction",
    "HealerRole",
    "HealerKeyPolicy",
    "HealerSchedule",
    "HealerSchedulePermission",
    "HealerInvokeConfig",
    "TitanxApiKey",
    "ChecksTable",
    "HealerLogGroup",
    "HealerErrorsAlarm",
    "IncompleteJobFilter",
    "IncompleteJobAlarm",
    "HealerRoundFilter",
    "HealerSilentAlarm",
];

fn get_att(attribute: &str) -> Value {
    json!({ "Fn::GetAtt": attribute })
}

#[test]
fn nothing_of_the_healer_is_there_unless_it_is_enabled() {
    let template = template();
    assert_eq!(template["Parameters"]["HealerEnabled"]["Default"], "false");
    let enabled = json!({ "Fn::Equals": [{ "Ref": "HealerEnabled" }, "true"] });
    assert_eq!(template["Conditions"]["HasHealer"], enabled);
    for name in RESOURCES {
        let expected = if name == "HealerKeyPolicy" {
            "HasHealerKey"
        } else {
            "HasHealer"
        };
        assert_eq!(template["Resources"][name]["Condition"], expected, "{name}");
    }
    for output in ["ChecksTable", "TitanxApiKeyArn", "HealerLogGroup"] {
        assert_eq!(template["Outputs"][output]["Condition"], "HasHealer");
    }
}

#[test]
fn the_healer_is_given_every_variable_that_it_needs() {
    // `healer/src/config.rs` has its own test of what it does with them.
    let expected = json!({
        "DELIVERIES_TABLE": { "Ref": "DeliveriesTable" },
        "JOBS_TABLE": { "Ref": "JobsTable" },
        "CHECKS_TABLE": { "Ref": "ChecksTable" },
        "CONTACTS_QUEUE_URL": { "Ref": "ContactsQueue" },
        "TITANX_API_KEY_ARN": { "Ref": "TitanxApiKey" },
        "DELIVERY_RETENTION_DAYS": { "Ref": "DeliveryRetentionDays" },
        "HEALER_DELAY_HOURS": { "Ref": "HealerDelayHours" },
        "HEALER_ROUND_HOURS": { "Ref": "HealerRoundHours" },
    });
    let healer = properties("HealerFunction");
    assert_eq!(healer["Environment"]["Variables"], expected);
    assert_eq!(healer["Timeout"], 900);
    assert_eq!(healer["MemorySize"], json!({ "Ref": "HealerMemorySize" }));
    assert_eq!(healer["Role"], get_att("HealerRole.Arn"));
    assert_eq!(healer["Runtime"], "provided.al2023");
    assert_eq!(healer["Architectures"], json!(["arm64"]));
    assert_eq!(
        healer["LoggingConfig"]["LogGroup"],
        json!({ "Ref": "HealerLogGroup" })
    );
    assert_eq!(healer.get("Events"), None);
    let built = &template()["Resources"]["HealerFunction"]["Metadata"];
    assert_eq!(built["BuildMethod"], "rust-cargolambda");
    assert_eq!(built["BuildProperties"]["Binary"], "healer");
    assert_eq!(healer["CodeUri"], "healer");
}

#[test]
fn checks_expire_and_the_api_key_is_created_without_a_value() {
    let checks = properties("ChecksTable");
    let key = json!([{ "AttributeName": "check_id", "KeyType": "HASH" }]);
    assert_eq!(checks["KeySchema"], key);
    let expires = json!({ "AttributeName": "expiration", "Enabled": true });
    assert_eq!(checks["TimeToLiveSpecification"], expires);
    assert_eq!(checks["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(checks["SSESpecification"]["SSEEnabled"], true);
    let secret = properties("TitanxApiKey");
    assert_eq!(secret.get("SecretString"), None);
    assert_eq!(secret.get("GenerateSecretString"), None);
}

#[test]
fn its_schedule_alone_runs_the_healer_and_nothing_repeats_a_run() {
    let schedule = properties("HealerSchedule");
    assert_eq!(schedule["ScheduleExpression"], "rate(15 minutes)");
    let target = json!([{ "Id": "healer", "Arn": get_att("HealerFunction.Arn") }]);
    assert_eq!(schedule["Targets"], target);
    let permission = properties("HealerSchedulePermission");
    assert_eq!(permission["Principal"], "events.amazonaws.com");
    assert_eq!(permission["SourceArn"], get_att("HealerSchedule.Arn"));
    assert_eq!(properties("HealerInvokeConfig")["MaximumRetryAttempts"], 0);
}

/// `runbook` has the patterns of the filters, which count these lines.
#[test]
fn the_healer_logs_what_the_filters_count() {
    let source = read("healer/src/bin/healer.rs");
    assert!(source.contains(r#"info!(request_id, more, "round finished")"#));
    assert!(source.contains("let (state, reason) = (result.state.as_str()"));
}
