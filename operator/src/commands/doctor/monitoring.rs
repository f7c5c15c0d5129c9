//! Checks whether somebody would learn that something is wrong: the alarms, their topic, and the log lines
//! that they count.

use anyhow::Context;
use aws_sdk_cloudwatch::types::{AlarmType, CompositeAlarm, MetricAlarm, StateValue};
use aws_sdk_lambda::types::{ApplicationLogLevel, LogFormat};

use super::Finding;
use crate::stack::Stack;

const ALARMS: &str = "alarms";

/// Checks the stack's alarms: that they exist, have an enabled action and are not in state ALARM, and
/// that one of them is for silence.
pub(super) async fn alarms(stack: &Stack<'_>) -> anyhow::Result<Vec<Finding>> {
    let prefix = stack.name()?;
    let client = aws_sdk_cloudwatch::Client::new(&stack.sdk);
    let mut pages = client
        .describe_alarms()
        .alarm_name_prefix(format!("{prefix}-"))
        .alarm_types(AlarmType::MetricAlarm)
        .alarm_types(AlarmType::CompositeAlarm)
        .into_paginator()
        .send();
    let mut alarms = Vec::new();
    let mut composites = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.context("cannot read the alarms")?;
        alarms.extend(page.metric_alarms.unwrap_or_default());
        composites.extend(page.composite_alarms.unwrap_or_default());
    }
    let mut findings = vec![Finding::check(
        !alarms.is_empty(),
        ALARMS,
        format!("the stack has {}", alarms.len() + composites.len()),
        "deploy the template again: it defines the alarms",
    )];
    findings.push(silence(stack).await?);
    findings.extend(composites.iter().filter_map(without_action));
    for alarm in &alarms {
        findings.extend(metric_alarm(alarm));
    }
    Ok(findings)
}

fn metric_alarm(alarm: &MetricAlarm) -> Vec<Finding> {
    let name = alarm.alarm_name().unwrap_or_default();
    let mut findings = Vec::new();
    if alarm.alarm_actions().is_empty() || alarm.actions_enabled() == Some(false) {
        findings.push(no_action(name));
    }
    if alarm.state_value() == Some(&StateValue::Alarm) {
        let description = alarm.alarm_description().unwrap_or_default();
        findings.push(Finding::problem(
            ALARMS,
            format!("{name} is in state ALARM: {description}"),
            "follow the alarm's description",
        ));
    }
    findings
}

/// The state of a composite alarm is that of the alarms that it is made of.
fn without_action(alarm: &CompositeAlarm) -> Option<Finding> {
    let none = alarm.alarm_actions().is_empty() || alarm.actions_enabled() == Some(false);
    none.then(|| no_action(alarm.alarm_name().unwrap_or_default()))
}

fn no_action(name: &str) -> Finding {
    Finding::problem(
        ALARMS,
        format!("{name} has no enabled action"),
        "add the stack's alarm topic as its action, and enable its actions",
    )
}

/// The alarm on silence is off until somebody says how long the jobs pause.
async fn silence(stack: &Stack<'_>) -> anyhow::Result<Finding> {
    let hours = stack.values().await?.get("SilenceAlarmHours").cloned();
    let hours = hours.filter(|hours| hours != "0");
    Ok(match hours {
        Some(hours) => Finding::fine(
            ALARMS,
            format!("one rings when nothing was accepted for {hours} hours"),
        ),
        None => Finding::note(
            ALARMS,
            "none rings when nothing arrives: a paused subscription would go unnoticed",
            "deploy with SilenceAlarmHours, a number of hours that is longer than your jobs pause",
        ),
    })
}

/// Checks that somebody receives what the alarms publish.
pub(super) async fn topic(stack: &Stack<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "alarm topic";
    let topic = stack.alarm_topic_arn().await?;
    let client = aws_sdk_sns::Client::new(&stack.sdk);
    let pages = client.list_subscriptions_by_topic().topic_arn(&topic);
    let mut pages = pages.into_paginator().send();
    let (mut confirmed, mut pending) = (0, 0);
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| format!("cannot read the subscribers of {topic}"))?;
        for subscription in page.subscriptions() {
            // Until it is confirmed, a subscription has a word instead of an ARN.
            match subscription.subscription_arn() {
                Some(arn) if arn.starts_with("arn:") => confirmed += 1,
                _ => pending += 1,
            }
        }
    }
    let mut findings = vec![match (confirmed, pending) {
        (0, 0) => Finding::problem(
            SUBJECT,
            "has no subscriber, so nobody learns of an alarm",
            "deploy with AlarmEmail or PagerUrl, or subscribe to the topic in the output AlarmTopicArn",
        ),
        (0, _) => Finding::problem(
            SUBJECT,
            "has no confirmed subscriber, so nobody learns of an alarm",
            "open the link in the message that SNS sent to the subscriber",
        ),
        (1, _) => Finding::fine(SUBJECT, "has one confirmed subscriber"),
        (count, _) => Finding::fine(SUBJECT, format!("has {count} confirmed subscribers")),
    }];
    if confirmed > 0 && pending > 0 {
        findings.push(Finding::note(
            SUBJECT,
            format!("{pending} of its subscriptions are not confirmed"),
            "open the link in the message that SNS sent to the subscriber",
        ));
    }
    Ok(findings)
}

/// Checks that the function's lines arrive where the metric filters count them.
pub(super) async fn log(stack: &Stack<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "log";
    let expected = stack.log_group().await?;
    let function = stack.function_configuration().await?;
    let logging = function.logging_config();
    let format = logging.and_then(|it| it.log_format());
    let level = logging.and_then(|it| it.application_log_level());
    let group = logging.and_then(|it| it.log_group()).unwrap_or("none");
    let counts_all = matches!(
        level,
        Some(ApplicationLogLevel::Info | ApplicationLogLevel::Debug | ApplicationLogLevel::Trace)
    );
    let level = level.map_or("none", ApplicationLogLevel::as_str);
    Ok(vec![
        Finding::check(
            format == Some(&LogFormat::Json),
            SUBJECT,
            format!(
                "has the format {}",
                format.map_or("none", LogFormat::as_str)
            ),
            "set the function's log format to JSON: metrics and alarms read the lines as JSON",
        ),
        Finding::check(
            counts_all,
            SUBJECT,
            format!("has the application log level {level}"),
            "set the function's application log level to INFO: above it, Lambda drops lines that \
             metrics and alarms count",
        ),
        Finding::check(
            group == expected,
            SUBJECT,
            format!("goes to {group}"),
            "set the function's log group to that of the output ReceiverLogGroup: metrics and alarms \
             count the lines there",
        ),
    ])
}
