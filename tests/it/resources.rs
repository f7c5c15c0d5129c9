//! Every resource that no table of the runbook names, each parameter's values, and the rules between parameters: how TitanX reaches the
//! function, who may call, publish and read, what encrypts what is stored, and how long it is kept. Written from the documents and from
//! AWS's documentation, not from the template. [`check`] is one of the checks that `runbook` tries on changed templates.

use serde_json::{Value, json};

use crate::template::{read, template};

fn reference(name: &str) -> Value {
    json!({ "Ref": name })
}

fn attribute(name: &str) -> Value {
    json!({ "Fn::GetAtt": name })
}

fn sub(text: &str) -> Value {
    json!({ "Fn::Sub": text })
}

fn either(condition: &str, yes: &Value, no: &Value) -> Value {
    json!({ "Fn::If": [condition, yes, no] })
}

fn only_if(condition: &str, value: &Value) -> Value {
    either(condition, value, &reference("AWS::NoValue"))
}

/// The key of the user's own, where there is one.
fn own_key() -> Value {
    only_if("HasKmsKey", &reference("KmsKeyArn"))
}

/// Whether the stack has it: always, or under this condition.
type Condition = Option<&'static str>;

/// What becomes of a resource when the stack is deleted, or when an update replaces it.
enum End {
    /// The default of `CloudFormation`, for what holds nothing.
    Default,
    Deleted,
    Kept,
}

fn resource(kind: &str, condition: Condition, end: &End, properties: &Value) -> Value {
    let mut resource = json!({ "Type": kind, "Properties": properties });
    if let Some(condition) = condition {
        resource["Condition"] = json!(condition);
    }
    let policy = match end {
        End::Default => return resource,
        End::Deleted => "Delete",
        End::Kept => "Retain",
    };
    resource["DeletionPolicy"] = json!(policy);
    resource["UpdateReplacePolicy"] = json!(policy);
    resource
}

/// API Gateway's address of a function, here of the alias.
fn invocation() -> Value {
    let path = "lambda:path/2015-03-31/functions/${Alias}/invocations";
    let address = format!("arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:{path}");
    json!({ "Fn::Sub": [address, { "Alias": reference("ReceiverFunction.Alias") }] })
}

/// How many requests either gateway takes.
fn throttling() -> Value {
    json!({
        "ThrottlingRateLimit": reference("ThrottlingRateLimit"),
        "ThrottlingBurstLimit": reference("ThrottlingBurstLimit"),
    })
}

/// What either gateway logs of a request: no address, path, header or body.
fn access_log() -> Value {
    // A line of JSON. Its blanks are the ends of lines in the template.
    let format = concat!(
        r#"{"gateway":"$context.requestId","request_id":"$context.integration.requestId","#,
        r#""time":$context.requestTimeEpoch, "method":"$context.httpMethod","#,
        r#""status":"$context.status","integration_status":"$context.integration.status", "#,
        r#""response_ms":"$context.responseLatency","#,
        r#""integration_ms":"$context.integration.latency","error":"$context.error.responseType"}"#,
    );
    let destination = attribute("AccessLogGroup.Arn");
    only_if(
        "HasAccessLog",
        &json!({ "DestinationArn": destination, "Format": format }),
    )
}

/// The default route takes every path and method; the domain alone answers where there is one.
fn http_api() -> Value {
    let default_url_is_off = either("HasDomain", &json!(true), &json!(false));
    let method = json!({
        "isDefaultRoute": true,
        "responses": {},
        "x-amazon-apigateway-integration": {
            "type": "aws_proxy",
            "httpMethod": "POST",
            "payloadFormatVersion": "2.0",
            "uri": invocation(),
        },
    });
    let configuration = json!({ "disableExecuteApiEndpoint": default_url_is_off });
    json!({
        "FailOnWarnings": true,
        "DisableExecuteApiEndpoint": default_url_is_off,
        "Body": {
            "openapi": "3.0.1",
            "info": { "title": reference("AWS::StackName"), "version": "1.0" },
            "servers": [{ "x-amazon-apigateway-endpoint-configuration": configuration }],
            "paths": { "/$default": { "x-amazon-apigateway-any-method": method } },
        },
    })
}

/// Every method of this path of the REST API.
fn any_method(path: &Value) -> Value {
    json!({
        "RestApiId": reference("WebhookRestApi"),
        "ResourceId": path,
        "HttpMethod": "ANY",
        "AuthorizationType": "NONE",
        "Integration": {
            "Type": "AWS_PROXY",
            "IntegrationHttpMethod": "POST",
            "Uri": invocation(),
        },
    })
}

/// A gateway may invoke the alias for any of its paths and methods; nobody else's gateway may.
fn gateway_permission(api: &str) -> Value {
    let source = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}";
    json!({
        "Action": "lambda:InvokeFunction",
        "FunctionName": reference("ReceiverFunction.Alias"),
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": sub(&format!("{source}:${{{api}}}/*")),
    })
}

fn log_group(condition: Condition, name: &str) -> Value {
    let properties = json!({
        "LogGroupName": sub(name),
        "RetentionInDays": reference("LogRetentionDays"),
        "KmsKeyId": own_key(),
    });
    resource("AWS::Logs::LogGroup", condition, &End::Deleted, &properties)
}

/// A table with this partition key, and whatever else it has.
fn table(condition: Condition, end: &End, key: &str, more: Value) -> Value {
    let mut properties = json!({
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": key, "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": key, "KeyType": "HASH" }],
        "SSESpecification": {
            "SSEEnabled": true,
            "SSEType": "KMS",
            "KMSMasterKeyId": own_key(),
        },
    });
    extend(&mut properties, more);
    resource("AWS::DynamoDB::Table", condition, end, &properties)
}

fn extend(object: &mut Value, more: Value) {
    let Value::Object(more) = more else {
        unreachable!()
    };
    object.as_object_mut().unwrap().extend(more);
}

/// DynamoDB deletes an item when the time in this attribute is over.
fn expiring() -> Value {
    json!({ "TimeToLiveSpecification": { "AttributeName": "expiration", "Enabled": true } })
}

/// TitanX got a 200 for every message. So no queue is deleted with the stack, and each takes the largest message, and keeps it longest.
fn queue(more: Value) -> Value {
    let mut properties = json!({
        "MaximumMessageSize": 1024 * 1024,
        "MessageRetentionPeriod": 14 * 24 * 60 * 60,
        "SqsManagedSseEnabled": either("HasKmsKey", &reference("AWS::NoValue"), &json!(true)),
        "KmsMasterKeyId": own_key(),
        "KmsDataKeyReusePeriodSeconds": only_if("HasKmsKey", &json!(24 * 60 * 60)),
    });
    extend(&mut properties, more);
    resource("AWS::SQS::Queue", None, &End::Kept, &properties)
}

fn redrive_policy(dead_letters: &str, receives: u32) -> Value {
    json!({
        "deadLetterTargetArn": attribute(&format!("{dead_letters}.Arn")),
        "maxReceiveCount": receives,
    })
}

/// What makes a queue of contacts FIFO, under a name that no earlier stack has used.
fn fifo(prefix: &str) -> Value {
    let stack_id = json!({ "Fn::Split": ["/", reference("AWS::StackId")] });
    let unique = json!({ "Unique": { "Fn::Select": [2, stack_id] } });
    let name = json!({ "Fn::Sub": [format!("{prefix}-${{Unique}}.fifo"), unique] });
    let fifo = |value| only_if("ContactsAreFifo", &value);
    json!({
        "QueueName": fifo(name),
        "FifoQueue": fifo(json!(true)),
        "ContentBasedDeduplication": fifo(json!(false)),
        "DeduplicationScope": fifo(json!("messageGroup")),
        "FifoThroughputLimit": fifo(json!("perMessageGroupId")),
    })
}

/// No one may do this on it over plain HTTP.
fn only_over_tls(action: &str, on: &Value) -> Value {
    json!({
        "Sid": "OnlyOverTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": on,
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    })
}

fn queue_policy(queue: &str) -> Value {
    let statement = only_over_tls("sqs:*", &attribute(&format!("{queue}.Arn")));
    let document = json!({ "Version": "2012-10-17", "Statement": [statement] });
    let properties = json!({ "Queues": [reference(queue)], "PolicyDocument": document });
    resource("AWS::SQS::QueuePolicy", None, &End::Kept, &properties)
}

/// The alarms of this account alone may publish.
fn topic_policy() -> Value {
    let topic = reference("AlarmTopic");
    let alarms = json!({
        "Sid": "AlarmsOfThisAccount",
        "Effect": "Allow",
        "Principal": { "Service": "cloudwatch.amazonaws.com" },
        "Action": "sns:Publish",
        "Resource": topic,
        "Condition": { "StringEquals": { "aws:SourceAccount": reference("AWS::AccountId") } },
    });
    let statements = [alarms, only_over_tls("sns:Publish", &topic)];
    json!({
        "Topics": [topic],
        "PolicyDocument": { "Version": "2012-10-17", "Statement": statements },
    })
}

/// What both functions have.
fn function(code: &str, memory: &str, seconds: u32, name: &str, variables: &Value) -> Value {
    json!({
        "CodeUri": code,
        "Handler": "bootstrap",
        "Runtime": "provided.al2023",
        "Architectures": ["arm64"],
        "MemorySize": reference(memory),
        "Timeout": seconds,
        "Role": attribute(&format!("{name}Role.Arn")),
        "Tracing": "Disabled",
        "LoggingConfig": {
            "LogGroup": reference(&format!("{name}LogGroup")),
            "LogFormat": "JSON",
            "SystemLogLevel": "WARN",
            "ApplicationLogLevel": "INFO",
        },
        "Environment": { "Variables": variables },
        "KmsKeyArn": own_key(),
    })
}

fn receiver() -> Value {
    let variables = json!({
        "DELIVERIES_TABLE": reference("DeliveriesTable"),
        "JOBS_TABLE": reference("JobsTable"),
        "CONTACTS_QUEUE_URL": reference("ContactsQueue"),
        "QUARANTINE_QUEUE_URL": reference("QuarantineQueue"),
        "TITANX_WEBHOOK_SECRET_ARN": reference("WebhookSecret"),
        "DELIVERY_RETENTION_DAYS": reference("DeliveryRetentionDays"),
        "SIGNING_KEY_FORM": reference("SigningKeyForm"),
    });
    let mut properties = function(".", "MemorySize", 8, "Receiver", &variables);
    let is_gradual = json!({ "Fn::FindInMap": ["GradualDeployments", reference("GradualDeployment"), "Enabled"] });
    let alarms = ["FunctionErrors", "FunctionDuration", "DeploymentErrors"];
    let reserved = only_if("HasReservedConcurrency", &reference("ReservedConcurrency"));
    extend(
        &mut properties,
        json!({
            "AutoPublishAlias": "live",
            "AutoPublishAliasAllProperties": true,
            "DeploymentPreference": {
                "Enabled": is_gradual,
                "Type": reference("GradualDeployment"),
                "Role": attribute("DeploymentRole.Arn"),
                "Alarms": alarms.map(|it| reference(&format!("{it}Alarm"))),
            },
            "ReservedConcurrentExecutions": reserved,
        }),
    );
    properties
}

fn healer() -> Value {
    let variables = json!({
        "DELIVERIES_TABLE": reference("DeliveriesTable"),
        "JOBS_TABLE": reference("JobsTable"),
        "CHECKS_TABLE": reference("ChecksTable"),
        "CONTACTS_QUEUE_URL": reference("ContactsQueue"),
        "TITANX_API_KEY_ARN": reference("TitanxApiKey"),
        "DELIVERY_RETENTION_DAYS": reference("DeliveryRetentionDays"),
        "HEALER_DELAY_HOURS": reference("HealerDelayHours"),
        "HEALER_ROUND_HOURS": reference("HealerRoundHours"),
    });
    function("healer", "HealerMemorySize", 900, "Healer", &variables)
}

/// Resources with their names, without their metadata and the descriptions for people.
type Named = Vec<(&'static str, Value)>;

fn plain(kind: &str, condition: Condition, properties: &Value) -> Value {
    resource(kind, condition, &End::Default, properties)
}

fn permission(condition: Condition, properties: &Value) -> Value {
    plain("AWS::Lambda::Permission", condition, properties)
}

fn secret(condition: Condition, end: &End) -> Value {
    let properties = json!({ "KmsKeyId": own_key() });
    resource("AWS::SecretsManager::Secret", condition, end, &properties)
}

fn http_api_entrance() -> Named {
    const HTTP: Condition = Some("HasHttpApi");
    vec![
        (
            "WebhookApi",
            plain("AWS::ApiGatewayV2::Api", HTTP, &http_api()),
        ),
        (
            "WebhookApiApiGatewayDefaultStage",
            plain(
                "AWS::ApiGatewayV2::Stage",
                HTTP,
                &json!({
                    "ApiId": reference("WebhookApi"),
                    "StageName": "$default",
                    "AutoDeploy": true,
                    "DefaultRouteSettings": throttling(),
                    "AccessLogSettings": access_log(),
                }),
            ),
        ),
        (
            "WebhookApiPermission",
            permission(HTTP, &gateway_permission("WebhookApi")),
        ),
    ]
}

fn rest_api_entrance() -> Named {
    const REST: Condition = Some("HasRestApi");
    let rest_api = || reference("WebhookRestApi");
    let rest_root = attribute("WebhookRestApi.RootResourceId");
    let mut deployment = plain(
        "AWS::ApiGateway::Deployment",
        REST,
        &json!({ "RestApiId": rest_api() }),
    );
    deployment["DependsOn"] = json!(["WebhookRestApiRootMethod", "WebhookRestApiPathsMethod"]);
    let mut every_method = throttling();
    extend(
        &mut every_method,
        json!({ "HttpMethod": "*", "ResourcePath": "/*" }),
    );
    vec![
        (
            "WebhookRestApi",
            plain(
                "AWS::ApiGateway::RestApi",
                REST,
                &json!({
                    "Name": reference("AWS::StackName"),
                    "EndpointConfiguration": { "Types": ["REGIONAL"] },
                    "SecurityPolicy": "SecurityPolicy_TLS13_1_2_PQ_2025_09",
                    "EndpointAccessMode": "BASIC",
                    "DisableExecuteApiEndpoint": either("HasDomain", &json!(true), &json!(false)),
                    "BinaryMediaTypes": ["*/*"],
                }),
            ),
        ),
        (
            "WebhookRestApiPaths",
            plain(
                "AWS::ApiGateway::Resource",
                REST,
                &json!({ "RestApiId": rest_api(), "ParentId": rest_root, "PathPart": "{proxy+}" }),
            ),
        ),
        (
            "WebhookRestApiRootMethod",
            plain("AWS::ApiGateway::Method", REST, &any_method(&rest_root)),
        ),
        (
            "WebhookRestApiPathsMethod",
            plain(
                "AWS::ApiGateway::Method",
                REST,
                &any_method(&reference("WebhookRestApiPaths")),
            ),
        ),
        ("WebhookRestApiDeployment", deployment),
        (
            "WebhookRestApiStage",
            plain(
                "AWS::ApiGateway::Stage",
                REST,
                &json!({
                    "RestApiId": rest_api(),
                    "DeploymentId": reference("WebhookRestApiDeployment"),
                    "StageName": "live",
                    "MethodSettings": [every_method],
                    "AccessLogSetting": access_log(),
                }),
            ),
        ),
        (
            "WebhookRestApiPermission",
            permission(REST, &gateway_permission("WebhookRestApi")),
        ),
    ]
}

/// Anybody may post to the URL, and nobody may invoke the function otherwise.
fn function_url_entrance() -> Named {
    const URL: Condition = Some("HasFunctionUrl");
    let public = reference("ReceiverFunction.Alias");
    let mut function_url = plain(
        "AWS::Lambda::Url",
        URL,
        &json!({
            "TargetFunctionArn": reference("ReceiverFunction"),
            "Qualifier": "live",
            "AuthType": "NONE",
            "InvokeMode": "BUFFERED",
        }),
    );
    function_url["DependsOn"] = json!("ReceiverFunctionAliaslive");
    vec![
        ("WebhookFunctionUrl", function_url),
        (
            "WebhookFunctionUrlPermission",
            permission(
                URL,
                &json!({
                    "Action": "lambda:InvokeFunctionUrl",
                    "FunctionName": public,
                    "FunctionUrlAuthType": "NONE",
                    "Principal": "*",
                }),
            ),
        ),
        (
            "WebhookFunctionUrlInvokePermission",
            permission(
                URL,
                &json!({
                    "Action": "lambda:InvokeFunction",
                    "FunctionName": public,
                    "InvokedViaFunctionUrl": true,
                    "Principal": "*",
                }),
            ),
        ),
    ]
}

fn domain_of_the_gateways() -> Named {
    const DOMAIN: Condition = Some("HasDomain");
    let of_entrance =
        |http: &str, rest: &str| either("HasHttpApi", &reference(http), &reference(rest));
    vec![
        (
            "WebhookDomain",
            plain(
                "AWS::ApiGatewayV2::DomainName",
                DOMAIN,
                &json!({
                    "DomainName": reference("DomainName"),
                    "DomainNameConfigurations": [{
                        "CertificateArn": reference("CertificateArn"),
                        "EndpointType": "REGIONAL",
                        "SecurityPolicy": "TLS_1_2",
                    }],
                }),
            ),
        ),
        (
            "WebhookDomainMapping",
            plain(
                "AWS::ApiGatewayV2::ApiMapping",
                DOMAIN,
                &json!({
                    "DomainName": reference("WebhookDomain"),
                    "ApiId": of_entrance("WebhookApi", "WebhookRestApi"),
                    "Stage": of_entrance("WebhookApiApiGatewayDefaultStage", "WebhookRestApiStage"),
                }),
            ),
        ),
    ]
}

fn function_and_tables() -> Named {
    let recoverable = json!({
        "StreamSpecification": { "StreamViewType": "NEW_AND_OLD_IMAGES" },
        "PointInTimeRecoverySpecification": { "PointInTimeRecoveryEnabled": true },
        "DeletionProtectionEnabled": true,
    });
    vec![
        (
            "AccessLogGroup",
            log_group(
                Some("HasAccessLog"),
                "/aws/vendedlogs/${AWS::StackName}-access",
            ),
        ),
        (
            "ReceiverFunction",
            plain("AWS::Serverless::Function", None, &receiver()),
        ),
        ("WebhookSecret", secret(None, &End::Kept)),
        (
            "ReceiverLogGroup",
            log_group(None, "/aws/lambda/${AWS::StackName}-receiver"),
        ),
        (
            "DeliveriesTable",
            table(None, &End::Deleted, "delivery_id", expiring()),
        ),
        ("JobsTable", table(None, &End::Kept, "job_id", recoverable)),
    ]
}

fn queues() -> Named {
    let mut contacts = fifo("titanx-contacts");
    extend(
        &mut contacts,
        json!({
            "VisibilityTimeout": reference("ContactsVisibilityTimeout"),
            "RedrivePolicy": redrive_policy("ContactsDeadLetterQueue", 5),
        }),
    );
    let quarantine = json!({ "RedrivePolicy": redrive_policy("QuarantineDeadLetterQueue", 1000) });
    vec![
        ("ContactsQueue", queue(contacts)),
        (
            "ContactsDeadLetterQueue",
            queue(fifo("titanx-contacts-dead-letter")),
        ),
        ("QuarantineQueue", queue(quarantine)),
        ("QuarantineDeadLetterQueue", queue(json!({}))),
        ("ContactsQueuePolicy", queue_policy("ContactsQueue")),
        (
            "ContactsDeadLetterQueuePolicy",
            queue_policy("ContactsDeadLetterQueue"),
        ),
        ("QuarantineQueuePolicy", queue_policy("QuarantineQueue")),
        (
            "QuarantineDeadLetterQueuePolicy",
            queue_policy("QuarantineDeadLetterQueue"),
        ),
    ]
}

fn healer_and_what_it_needs() -> Named {
    const HEALER: Condition = Some("HasHealer");
    vec![
        (
            "HealerFunction",
            plain("AWS::Serverless::Function", HEALER, &healer()),
        ),
        (
            "HealerSchedule",
            plain(
                "AWS::Events::Rule",
                HEALER,
                &json!({
                    "ScheduleExpression": "rate(15 minutes)",
                    "Targets": [{ "Id": "healer", "Arn": attribute("HealerFunction.Arn") }],
                }),
            ),
        ),
        (
            "HealerSchedulePermission",
            permission(
                HEALER,
                &json!({
                    "Action": "lambda:InvokeFunction",
                    "FunctionName": reference("HealerFunction"),
                    "Principal": "events.amazonaws.com",
                    "SourceArn": attribute("HealerSchedule.Arn"),
                }),
            ),
        ),
        (
            "HealerInvokeConfig",
            plain(
                "AWS::Lambda::EventInvokeConfig",
                HEALER,
                &json!({
                    "FunctionName": reference("HealerFunction"),
                    "Qualifier": "$LATEST",
                    "MaximumRetryAttempts": 0,
                }),
            ),
        ),
        ("TitanxApiKey", secret(HEALER, &End::Deleted)),
        (
            "ChecksTable",
            table(HEALER, &End::Deleted, "check_id", expiring()),
        ),
        (
            "HealerLogGroup",
            log_group(HEALER, "/aws/lambda/${AWS::StackName}-healer"),
        ),
    ]
}

fn alarm_topic() -> Named {
    vec![
        (
            "AlarmTopic",
            plain(
                "AWS::SNS::Topic",
                None,
                &json!({ "KmsMasterKeyId": own_key() }),
            ),
        ),
        (
            "AlarmTopicPolicy",
            plain("AWS::SNS::TopicPolicy", None, &topic_policy()),
        ),
    ]
}

fn expected() -> Named {
    [
        http_api_entrance(),
        rest_api_entrance(),
        function_url_entrance(),
        domain_of_the_gateways(),
        function_and_tables(),
        queues(),
        healer_and_what_it_needs(),
        alarm_topic(),
    ]
    .concat()
}

/// Parameters: name, type, default, and what they take: values, the least and the most, or a pattern. The defaults stand in the operations
/// page, too.
fn parameters() -> Vec<(&'static str, &'static str, Value, Value)> {
    const TEXT: &str = "String";
    const NUMBER: &str = "Number";
    let any = || json!({});
    let least = |least: u32| json!({ "MinValue": least });
    let from_to = |least: u32, most: u32| json!({ "MinValue": least, "MaxValue": most });
    let values = |values: Value| json!({ "AllowedValues": values });
    let pattern = |pattern: &str| json!({ "AllowedPattern": pattern });
    let arn = |of: &str| pattern(&format!("^(|arn:aws[a-z-]*:{of})$"));
    let shifts = json!([
        "off",
        "Canary10Percent5Minutes",
        "Canary10Percent15Minutes",
        "Linear10PercentEvery1Minute",
        "AllAtOnce",
    ]);
    // What CloudWatch Logs takes.
    let days = json!([
        1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557,
        2922, 3288, 3653,
    ]);
    let key_forms = json!(["any", "whole", "without-prefix", "decoded"]);
    vec![
        (
            "Entrance",
            TEXT,
            json!("http-api"),
            values(json!(["http-api", "function-url", "rest-api"])),
        ),
        ("DomainName", TEXT, json!(""), any()),
        (
            "CertificateArn",
            TEXT,
            json!(""),
            arn("acm:[a-z0-9-]+:[0-9]{12}:certificate/.+"),
        ),
        (
            "AccessLog",
            TEXT,
            json!("off"),
            values(json!(["off", "on"])),
        ),
        (
            "ContactsQueueType",
            TEXT,
            json!("standard"),
            values(json!(["standard", "fifo"])),
        ),
        (
            "ContactsVisibilityTimeout",
            NUMBER,
            json!(180),
            from_to(0, 12 * 60 * 60),
        ),
        ("DeliveryRetentionDays", NUMBER, json!(7), least(7)),
        ("SigningKeyForm", TEXT, json!("any"), values(key_forms)),
        ("MemorySize", NUMBER, json!(128), from_to(128, 10_240)),
        (
            "HealerEnabled",
            TEXT,
            json!("false"),
            values(json!(["false", "true"])),
        ),
        ("HealerDelayHours", NUMBER, json!(73), least(1)),
        ("HealerRoundHours", NUMBER, json!(24), least(1)),
        ("HealerMemorySize", NUMBER, json!(256), from_to(128, 10_240)),
        ("ReservedConcurrency", NUMBER, json!(0), least(0)),
        ("ThrottlingRateLimit", NUMBER, json!(500), least(1)),
        ("ThrottlingBurstLimit", NUMBER, json!(1000), least(1)),
        ("LogRetentionDays", NUMBER, json!(30), values(days)),
        (
            "KmsKeyArn",
            TEXT,
            json!(""),
            arn("kms:[a-z0-9-]+:[0-9]{12}:key/[a-z0-9-]+"),
        ),
        ("GradualDeployment", TEXT, json!("off"), values(shifts)),
        ("SilenceAlarmHours", NUMBER, json!(0), from_to(0, 168)),
        ("PagerUrl", TEXT, json!(""), pattern("^(https://.+)?$")),
        ("AlarmEmail", TEXT, json!(""), any()),
    ]
}

/// Parameters that exclude or need each other, each as what must hold if the first is so.
fn rules() -> Value {
    let equals =
        |parameter: &str, value: &str| json!({ "Fn::Equals": [reference(parameter), value] });
    let is_set = |parameter: &str| json!({ "Fn::Not": [equals(parameter, "")] });
    let rule = |condition: Value, asserts: &[Value]| {
        let assertions: Vec<_> = asserts.iter().map(|it| json!({ "Assert": it })).collect();
        json!({ "RuleCondition": condition, "Assertions": assertions })
    };
    json!({
        "DomainNeedsCertificate": rule(is_set("DomainName"), &[is_set("CertificateArn")]),
        "CertificateNeedsDomain": rule(is_set("CertificateArn"), &[is_set("DomainName")]),
        "FunctionUrlHasNoDomain": rule(
            equals("Entrance", "function-url"),
            &[equals("DomainName", ""), equals("AccessLog", "off")],
        ),
    })
}

/// What AWS calls the metrics of each entrance, and whether a deployment is gradual.
fn mappings() -> Value {
    let metrics =
        |namespace: &str, dimension: &str, [requests, refused, failed, latency]: [&str; 4]| {
            json!({
                "Namespace": namespace,
                "Dimension": dimension,
                "Requests": requests,
                "ClientErrors": refused,
                "ServerErrors": failed,
                "Latency": latency,
            })
        };
    let is_gradual = |enabled: &str| json!({ "Enabled": enabled });
    json!({
        "GradualDeployments": {
            "off": is_gradual("false"),
            "Canary10Percent5Minutes": is_gradual("true"),
            "Canary10Percent15Minutes": is_gradual("true"),
            "Linear10PercentEvery1Minute": is_gradual("true"),
            "AllAtOnce": is_gradual("true"),
        },
        "EntranceMetrics": {
            "http-api": metrics("AWS/ApiGateway", "ApiId", ["Count", "4xx", "5xx", "Latency"]),
            "function-url": metrics(
                "AWS/Lambda",
                "FunctionName",
                ["UrlRequestCount", "Url4xxCount", "Url5xxCount", "UrlRequestLatency"],
            ),
            "rest-api": metrics(
                "AWS/ApiGateway",
                "ApiName",
                ["Count", "4XXError", "5XXError", "Latency"],
            ),
        },
    })
}

/// Without what is worded in any way, and what only checkers and the build read.
fn without_words(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        for name in ["Metadata", "Description", "AssertDescription"] {
            object.remove(name);
        }
        for (_, member) in object {
            *member = without_words(member.take());
        }
    }
    if let Some(items) = value.as_array_mut() {
        for item in items {
            *item = without_words(item.take());
        }
    }
    value
}

/// Types of which `runbook` has tables.
const ELSEWHERE: [&str; 8] = [
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Logs::MetricFilter",
    "AWS::Logs::QueryDefinition",
    "AWS::SNS::Subscription",
];

/// What is wrong with these resources, the parameters, the rules, and the mappings of `template`.
pub(crate) fn check(template: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, found: &Value, expected: &Value| {
        if found != expected {
            wrong.push(format!("{what} is {found}, not {expected}"));
        }
    };
    let resources = expected();
    for (name, resource) in template["Resources"].as_object().into_iter().flatten() {
        let is_elsewhere = ELSEWHERE.iter().any(|kind| resource["Type"] == **kind);
        let is_known = is_elsewhere || resources.iter().any(|(known, _)| known == name);
        expect(name, &json!(is_known), &json!(true));
    }
    for (name, expected) in resources {
        let mut found = without_words(template["Resources"][name].clone());
        let version = found["Properties"]
            .as_object_mut()
            .and_then(|it| it.remove("VersionDescription"))
            .unwrap_or_default();
        let described = &template["Resources"][name]["Properties"]["Description"];
        // Lambda publishes a version only if something of the function changes, and SAM does not see the values of parameters.
        if name == "ReceiverFunction" {
            expect("the version", &version, described);
            let text = version["Fn::Sub"].as_str().unwrap_or_default();
            let named = [
                "MemorySize",
                "DeliveryRetentionDays",
                "SigningKeyForm",
                "ContactsQueueType",
                "KmsKeyArn",
            ]
            .map(|parameter| text.contains(&format!("${{{parameter}}}")));
            expect(
                "the version's parameters",
                &json!(named),
                &json!([true, true, true, true, true]),
            );
        } else {
            expect(name, &version, &Value::Null);
        }
        expect(name, &found, &expected);
    }
    let mut names = Vec::new();
    for (name, kind, default, takes) in parameters() {
        let mut expected = json!({ "Type": kind, "Default": default });
        extend(&mut expected, takes);
        let found = without_words(template["Parameters"][name].clone());
        expect(name, &found, &expected);
        names.push(name);
    }
    let found = template["Parameters"].as_object();
    let found: Vec<_> = found.map(|it| it.keys().collect()).unwrap_or_default();
    expect("the parameters", &json!(found), &json!(names));
    let found = without_words(template["Rules"].clone());
    expect("the rules", &found, &rules());
    expect("the mappings", &template["Mappings"], &mappings());
    wrong
}

/// The operations page says what each parameter is if nobody sets it.
#[test]
fn the_operations_page_has_the_default_of_each_parameter() {
    let page = read("docs/operations.md");
    let template = template();
    let mut checked = 0;
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let names: Vec<_> = cells[1]
            .split(", ")
            .map(|it| it.trim_matches('`'))
            .collect();
        if !names
            .iter()
            .all(|it| template["Parameters"].get(it).is_some())
        {
            continue;
        }
        let mut defaults = cells[2].split(", ").cycle();
        for name in names {
            let written = match defaults.next().unwrap().trim_matches('`') {
                "none" => "",
                other => other,
            };
            let default = match &template["Parameters"][name]["Default"] {
                Value::String(text) => text.clone(),
                number => number.to_string(),
            };
            assert_eq!(written, default, "{name}");
            checked += 1;
        }
    }
    assert_eq!(checked, parameters().len());
}
