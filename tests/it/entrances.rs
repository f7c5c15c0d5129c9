//! The entrance, the parameters and what a newcomer deploys with: what can be read off the files. What SAM
//! makes of them is looked at by `scripts/template-check`, and deployed by `scripts/deploy-check`.

use std::collections::BTreeSet;

use serde_json::json;

use crate::template::{read, template};

/// The names and dimensions of the services' own metrics, of AWS's documentation.
#[test]
fn each_entrance_is_watched_by_its_own_metrics() {
    let expected = json!({
        "http-api": {
            "Namespace": "AWS/ApiGateway", "Dimension": "ApiId",
            "Requests": "Count", "ClientErrors": "4xx", "ServerErrors": "5xx",
            "Latency": "Latency",
        },
        "function-url": {
            "Namespace": "AWS/Lambda", "Dimension": "FunctionName",
            "Requests": "UrlRequestCount", "ClientErrors": "Url4xxCount", "ServerErrors": "Url5xxCount",
            "Latency": "UrlRequestLatency",
        },
        "rest-api": {
            "Namespace": "AWS/ApiGateway", "Dimension": "ApiName",
            "Requests": "Count", "ClientErrors": "4XXError", "ServerErrors": "5XXError",
            "Latency": "Latency",
        },
    });
    let template = template();
    assert_eq!(template["Mappings"]["EntranceMetrics"], expected);
    let entrance = &template["Parameters"]["Entrance"];
    assert_eq!(entrance["Default"], "http-api");
    let offered = entrance["AllowedValues"].as_array().unwrap();
    let offered: BTreeSet<&str> = offered.iter().map(|it| it.as_str().unwrap()).collect();
    let watched = expected.as_object().unwrap().keys().map(String::as_str);
    assert_eq!(offered, watched.collect());
}

/// SAM's own events and URLs lose the conditions of what they belong to.
#[test]
fn what_depends_on_a_parameter_is_made_by_this_template_and_not_by_sam() {
    let template = template();
    let resources = template["Resources"].as_object().unwrap().iter();
    let of_sam: Vec<&String> = resources
        .filter(|(_, it)| {
            it["Type"]
                .as_str()
                .unwrap()
                .starts_with("AWS::Serverless::")
        })
        .map(|(name, _)| name)
        .collect();
    // The healer's function is there by a condition, which SAM keeps for the function itself. So it may have nothing else that
    // SAM makes of a function; scripts/template-check looks at both cases.
    assert_eq!(of_sam, ["ReceiverFunction", "HealerFunction"]);
    let healer = template["Resources"]["HealerFunction"]["Properties"].clone();
    for made_by_sam in [
        "AutoPublishAlias",
        "Events",
        "EventInvokeConfig",
        "FunctionUrlConfig",
        "Policies",
    ] {
        assert_eq!(healer.get(made_by_sam), None);
    }
    assert!(healer.get("Role").is_some());
    assert_eq!(
        template["Resources"]["ReceiverFunction"].get("Condition"),
        None
    );
}

/// `CloudFormation` refuses a template with them, where nothing rewrites it first.
#[test]
fn the_template_has_no_anchors_of_yaml() {
    for (number, line) in read("template.yaml").lines().enumerate() {
        let code = line.split(" #").next().unwrap();
        let is_anchor = |word: &str| {
            let name = word.strip_prefix(['&', '*']);
            name.is_some_and(|it| it.starts_with(|first: char| first.is_ascii_alphabetic()))
        };
        let found = code.split_whitespace().find(|word| is_anchor(word));
        assert_eq!(found, None, "line {}: {line}", number + 1);
    }
}

#[test]
fn every_parameter_is_described_and_answered_by_enter() {
    let template = template();
    for (name, parameter) in template["Parameters"].as_object().unwrap() {
        assert!(parameter.get("Default").is_some(), "{name} has no default");
        let description = parameter["Description"].as_str().unwrap_or_default();
        assert!(
            description.ends_with('.') && description.len() >= 40,
            "{name}: {description}"
        );
        // What CloudFormation takes.
        assert!(description.len() <= 4000, "{name}");
    }
}

#[test]
fn every_parameter_is_in_the_operations_page() {
    let page = read("docs/operations.md");
    for name in template()["Parameters"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn sam_deploy_needs_no_option() {
    let config: toml::Table = read("samconfig.toml").parse().unwrap();
    assert!(
        config.contains_key("version"),
        "SAM reads no file without it"
    );
    let parameters = &config["default"]["deploy"]["parameters"];
    assert_eq!(parameters["stack_name"].as_str(), Some("titanx-receiver"));
    assert_eq!(parameters["capabilities"].as_str(), Some("CAPABILITY_IAM"));
    assert_eq!(parameters["resolve_s3"].as_bool(), Some(true));
    // With it, Enter at the last question means no.
    assert_eq!(parameters["confirm_changeset"].as_bool(), Some(false));
}

/// The jobs table is the only record of the jobs.
#[test]
fn the_jobs_table_cannot_be_deleted_by_mistake() {
    let jobs = &template()["Resources"]["JobsTable"]["Properties"];
    assert_eq!(jobs["DeletionProtectionEnabled"], true);
}
