"""What scripts/template-check does. Expectations stand here, spelt out by hand."""

import fnmatch
import itertools
import json
import re
import sys

from expand_template import expand
from put_in import Deployed

ALIAS = "<ReceiverFunctionAliaslive>"
OWN_KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/1234abcd-12ab-34cd-56ef-1234567890ab"

# What each entrance consists of, and its permissions.
ENTRANCES = {
    "http-api": {"WebhookApi", "WebhookApiApiGatewayDefaultStage", "WebhookApiPermission"},
    "function-url": {"WebhookFunctionUrl", "WebhookFunctionUrlPermission", "WebhookFunctionUrlInvokePermission"},
    "rest-api": {
        "WebhookRestApi",
        "WebhookRestApiPaths",
        "WebhookRestApiRootMethod",
        "WebhookRestApiPathsMethod",
        "WebhookRestApiDeployment",
        "WebhookRestApiStage",
        "WebhookRestApiPermission",
    },
}
DOMAIN = {"WebhookDomain", "WebhookDomainMapping"}
GRADUAL = {"ServerlessDeploymentApplication", "ReceiverFunctionDeploymentGroup", "DeploymentRole"}
HEALER = {
    "HealerFunction",
    "HealerRole",
    "HealerSchedule",
    "HealerSchedulePermission",
    "HealerInvokeConfig",
    "HealerLogGroup",
    "HealerErrorsAlarm",
    "HealerRoundFilter",
    "HealerSilentAlarm",
    "IncompleteJobFilter",
    "IncompleteJobAlarm",
    "TitanxApiKey",
    "ChecksTable",
}


def covers(pattern, api, stage):
    """Whether a permission covers every route and path of this API, and nothing of another."""
    own = f"arn:aws:execute-api:us-east-1:123456789012:{api}/{stage}"
    for source in ["$default", "POST/webhooks/titanx", "POST/webhooks/titanx/", "POST/", "GET/Webhooks/TitanX/x"]:
        assert fnmatch.fnmatchcase(f"{own}/{source}", pattern), f"{pattern} does not cover {own}/{source}"
    other = own.replace(api, "other00000")
    assert not fnmatch.fnmatchcase(f"{other}/$default", pattern), f"{pattern} covers another API"


def check_entrance(deployed, entrance, domain):
    webhook = {it for it in deployed.resources if it.startswith("Webhook")} - {"WebhookSecret"}
    assert webhook == ENTRANCES[entrance] | (DOMAIN if domain else set()), webhook
    permissions = deployed.of_type("AWS::Lambda::Permission")
    permissions.pop("HealerSchedulePermission", None)
    assert set(permissions) == {it for it in ENTRANCES[entrance] if it.endswith("Permission")}, permissions
    for permission in permissions.values():
        assert permission["FunctionName"] == ALIAS, permission
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{ALIAS}/invocations"
    {"http-api": check_http_api, "function-url": check_function_url, "rest-api": check_rest_api}[entrance](
        deployed, permissions, uri, domain
    )
    url = {
        "http-api": "https://<WebhookApi>.execute-api.us-east-1.amazonaws.com/webhooks/titanx",
        "function-url": "<WebhookFunctionUrl.FunctionUrl>webhooks/titanx",
        "rest-api": "https://<WebhookRestApi>.execute-api.us-east-1.amazonaws.com/live/webhooks/titanx",
    }[entrance]
    assert deployed.outputs["WebhookUrl"] == ("https://hooks.example.com/webhooks/titanx" if domain else url)


def check_http_api(deployed, permissions, uri, domain):
    api = deployed.resources["WebhookApi"]["Properties"]
    assert api["DisableExecuteApiEndpoint"] is domain
    [server] = api["Body"]["servers"]
    assert server == {"x-amazon-apigateway-endpoint-configuration": {"disableExecuteApiEndpoint": domain}}, server
    # HTTP APIs choose the default route for every request that no other route matches.
    assert not deployed.of_type("AWS::ApiGatewayV2::Route"), "a route beside those of the API's definition"
    paths = api["Body"]["paths"]
    assert list(paths) == ["/$default"], f"not the default route alone: {list(paths)}"
    assert list(paths["/$default"]) == ["x-amazon-apigateway-any-method"], paths
    route = paths["/$default"]["x-amazon-apigateway-any-method"]
    assert route["isDefaultRoute"] is True, route
    assert "security" not in route, f"the gateway refuses what TitanX cannot authorize: {route}"
    integration = route["x-amazon-apigateway-integration"]
    assert integration == {"type": "aws_proxy", "httpMethod": "POST", "payloadFormatVersion": "2.0", "uri": uri}
    # The stage that a URL without a stage's name means.
    stage = deployed.resources["WebhookApiApiGatewayDefaultStage"]["Properties"]
    assert stage["ApiId"] == "<WebhookApi>" and stage["StageName"] == "$default" and stage["AutoDeploy"] is True, stage
    check_throttling(stage["DefaultRouteSettings"])
    check_gateway_permission(permissions["WebhookApiPermission"], "<WebhookApi>", "$default")
    check_access_log(deployed, stage.get("AccessLogSettings"))
    check_domain(deployed, domain, "<WebhookApi>", "<WebhookApiApiGatewayDefaultStage>")


def check_rest_api(deployed, permissions, uri, domain):
    api = deployed.resources["WebhookRestApi"]["Properties"]
    assert api["DisableExecuteApiEndpoint"] is domain
    assert api["BinaryMediaTypes"] == ["*/*"], "bodies that are not UTF-8 would not arrive as they were signed"
    # An API's own policy holds at its domain, too.
    assert api["SecurityPolicy"] == "SecurityPolicy_TLS13_1_2_PQ_2025_09" and api["EndpointAccessMode"] == "BASIC", api
    methods = deployed.of_type("AWS::ApiGateway::Method")
    paths = deployed.resources["WebhookRestApiPaths"]["Properties"]
    assert paths["PathPart"] == "{proxy+}" and paths["ParentId"] == "<WebhookRestApi.RootResourceId>"
    assert {it["ResourceId"] for it in methods.values()} == {"<WebhookRestApi.RootResourceId>", "<WebhookRestApiPaths>"}
    for method in methods.values():
        assert method["HttpMethod"] == "ANY" and method["AuthorizationType"] == "NONE", method
        assert method["Integration"] == {"Type": "AWS_PROXY", "IntegrationHttpMethod": "POST", "Uri": uri}, method
    # The deployment is a copy of the methods, so it must be made after them.
    assert set(deployed.resources["WebhookRestApiDeployment"]["DependsOn"]) == set(methods)
    stage = deployed.resources["WebhookRestApiStage"]["Properties"]
    assert stage["StageName"] == "live" and stage["DeploymentId"] == "<WebhookRestApiDeployment>", stage
    [settings] = stage["MethodSettings"]
    assert (settings["HttpMethod"], settings["ResourcePath"]) == ("*", "/*"), settings
    check_throttling(settings)
    check_gateway_permission(permissions["WebhookRestApiPermission"], "<WebhookRestApi>", "live")
    check_access_log(deployed, stage.get("AccessLogSetting"))
    check_domain(deployed, domain, "<WebhookRestApi>", "<WebhookRestApiStage>")


def check_function_url(deployed, permissions, _, domain):
    assert not domain
    url = deployed.resources["WebhookFunctionUrl"]["Properties"]
    assert url["Qualifier"] == "live" and url["AuthType"] == "NONE", url
    assert deployed.resources["WebhookFunctionUrl"]["DependsOn"] == "ReceiverFunctionAliaslive"
    assert permissions == {
        "WebhookFunctionUrlPermission": {
            "Action": "lambda:InvokeFunctionUrl",
            "FunctionName": ALIAS,
            "FunctionUrlAuthType": "NONE",
            "Principal": "*",
        },
        "WebhookFunctionUrlInvokePermission": {
            "Action": "lambda:InvokeFunction",
            "FunctionName": ALIAS,
            "InvokedViaFunctionUrl": True,
            "Principal": "*",
        },
    }


def check_throttling(settings):
    assert settings["ThrottlingRateLimit"] == 500 and settings["ThrottlingBurstLimit"] == 1000, settings


def check_gateway_permission(permission, api, stage):
    assert permission["Action"] == "lambda:InvokeFunction", permission
    assert permission["Principal"] == "apigateway.amazonaws.com", permission
    covers(permission["SourceArn"], api, stage)


def check_domain(deployed, domain, api, stage):
    if not domain:
        return
    [configuration] = deployed.resources["WebhookDomain"]["Properties"]["DomainNameConfigurations"]
    assert configuration == {"CertificateArn": CERTIFICATE, "EndpointType": "REGIONAL", "SecurityPolicy": "TLS_1_2"}
    mapping = deployed.resources["WebhookDomainMapping"]["Properties"]
    assert mapping == {"DomainName": "<WebhookDomain>", "ApiId": api, "Stage": stage}, mapping
    assert deployed.outputs["DomainTarget"] == "<WebhookDomain.RegionalDomainName>"


def check_access_log(deployed, settings):
    """The access log is JSON, joins to the function's lines, and holds nothing that a sender wrote or is known by."""
    if deployed.values["AccessLog"] == "off":
        assert settings is None and "AccessLogGroup" not in deployed.resources
        return
    assert settings["DestinationArn"] == "<AccessLogGroup.Arn>", settings
    variables = set(re.findall(r"\$context\.([A-Za-z.]+)", settings["Format"]))
    allowed = {
        "requestId",
        "integration.requestId",
        "requestTimeEpoch",
        "httpMethod",
        "status",
        "integration.status",
        "responseLatency",
        "integration.latency",
        "error.responseType",
    }
    assert variables <= allowed and {"requestId", "integration.requestId", "status"} <= variables, variables
    json.loads(re.sub(r"\$context\.[A-Za-z.]+", "0", settings["Format"]))


def check_gradual(deployed, gradual):
    assert (GRADUAL <= set(deployed.resources)) == (gradual != "off")
    assert not GRADUAL & set(deployed.resources) or gradual != "off"
    alias = deployed.resources["ReceiverFunctionAliaslive"]
    assert ("UpdatePolicy" in alias) == (gradual != "off")
    if gradual == "off":
        return
    group = deployed.resources["ReceiverFunctionDeploymentGroup"]["Properties"]
    assert group["DeploymentConfigName"] == f"CodeDeployDefault.Lambda{gradual}", group
    assert group["AutoRollbackConfiguration"]["Enabled"] is True
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    alarms = {it["Name"].strip("<>") for it in group["AlarmConfiguration"]["Alarms"]}
    assert group["AlarmConfiguration"]["Enabled"] is True
    assert alarms == {"FunctionErrorsAlarm", "FunctionDurationAlarm", "DeploymentErrorsAlarm"}, alarms
    assert alarms <= set(deployed.resources)
    assert alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"] == "<ReceiverFunctionDeploymentGroup>"


def check_key(deployed, key):
    keys = {
        name: properties.get(attribute)
        for kind, attribute in [
            ("AWS::SQS::Queue", "KmsMasterKeyId"),
            ("AWS::SNS::Topic", "KmsMasterKeyId"),
            ("AWS::Logs::LogGroup", "KmsKeyId"),
            ("AWS::SecretsManager::Secret", "KmsKeyId"),
            ("AWS::Lambda::Function", "KmsKeyArn"),
        ]
        for name, properties in deployed.of_type(kind).items()
    } | {
        name: properties["SSESpecification"].get("KMSMasterKeyId")
        for name, properties in deployed.of_type("AWS::DynamoDB::Table").items()
    }
    assert len(keys) >= 10 and set(keys.values()) == {key or None}, keys
    assert ("ReceiverKeyPolicy" in deployed.resources) == bool(key)
    for queue in deployed.of_type("AWS::SQS::Queue").values():
        assert queue.get("SqsManagedSseEnabled") == (None if key else True), queue


def check_healer(deployed, enabled, key):
    """There is a healer, run by its schedule, if it is enabled, and nothing of one else."""
    found = set(deployed.resources) & (HEALER | {"HealerKeyPolicy"})
    assert found == (HEALER if enabled else set()) | ({"HealerKeyPolicy"} if enabled and key else set()), found
    assert not [it for it in set(deployed.resources) - found if "Heal" in it]
    assert {"ChecksTable", "TitanxApiKeyArn", "HealerLogGroup"} & set(deployed.outputs) == (
        {"ChecksTable", "TitanxApiKeyArn", "HealerLogGroup"} if enabled else set()
    )
    if not enabled:
        return
    [target] = deployed.resources["HealerSchedule"]["Properties"]["Targets"]
    assert target["Arn"] == "<HealerFunction.Arn>", target
    permission = deployed.resources["HealerSchedulePermission"]["Properties"]
    assert permission == {
        "Action": "lambda:InvokeFunction",
        "FunctionName": "<HealerFunction>",
        "Principal": "events.amazonaws.com",
        "SourceArn": "<HealerSchedule.Arn>",
    }, permission
    function = deployed.resources["HealerFunction"]["Properties"]
    assert function["Timeout"] == 900 and function["MemorySize"] == 256, function
    assert function["Role"] == "<HealerRole.Arn>", function


def check_tls_only(deployed):
    """Each queue, and the topic, refuses what does not come over TLS."""
    denied = {}
    for kind, targets in [("AWS::SQS::QueuePolicy", "Queues"), ("AWS::SNS::TopicPolicy", "Topics")]:
        for policy in deployed.of_type(kind).values():
            [target] = policy[targets]
            for statement in policy["PolicyDocument"]["Statement"]:
                if statement["Effect"] == "Deny":
                    assert statement["Principal"] == "*"
                    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}, statement
                    assert statement["Resource"] in (target, target[:-1] + ".Arn>"), statement
                    denied[target.strip("<>")] = statement["Action"]
    assert denied == {it: "sqs:*" for it in deployed.of_type("AWS::SQS::Queue")} | {"AlarmTopic": "sns:Publish"}, denied


def parameters_of(template, value, seen=()):
    """The parameters that a value depends on, through conditions and through the resources that it names."""
    found = set()
    if isinstance(value, dict):
        for function, operand in value.items():
            if function == "Ref" and operand in template["Parameters"]:
                found.add(operand)
            if function == "Ref" and operand in template["Resources"] and operand not in seen:
                # Another name means another resource: what names or replaces it.
                resource = template["Resources"][operand]["Properties"]
                names = {it: resource[it] for it in ("QueueName", "FifoQueue", "TableName") if it in resource}
                found |= parameters_of(template, names, (*seen, operand))
            if function == "Fn::If":
                found |= parameters_of(template, template["Conditions"][operand[0]], seen)
            if function == "Condition":
                found |= parameters_of(template, template["Conditions"].get(operand), seen)
            if function == "Fn::Sub" and isinstance(operand, str):
                found |= set(re.findall(r"\$\{(\w+)\}", operand)) & set(template["Parameters"])
            found |= parameters_of(template, operand, seen)
    if isinstance(value, list):
        for it in value:
            found |= parameters_of(template, it, seen)
    return found


def check_description(template):
    """A version is replaced if and only if a value that reaches the function changes. Lambda refuses to publish a second version of an
    unchanged function, and the deployment would fail."""
    function = dict(template["Resources"]["ReceiverFunction"]["Properties"])
    description = function.pop("Description")
    # Not a part of a version.
    function.pop("ReservedConcurrentExecutions")
    [version] = [it for it in template["Resources"].values() if it["Type"] == "AWS::Lambda::Version"]
    assert version["Properties"]["Description"] == description
    described, reached = parameters_of(template, description), parameters_of(template, function)
    assert described == reached, f"described {described}, read {reached}"
    longest = {name: max(map(len, map(str, it.get("AllowedValues", [""])))) for name, it in template["Parameters"].items()}
    longest |= {"MemorySize": 5, "DeliveryRetentionDays": 5, "KmsKeyArn": 100}
    length = len(re.sub(r"\$\{(\w+)\}", lambda it: "x" * longest[it[1]], description["Fn::Sub"]))
    assert length <= 256, f"Lambda takes 256 characters, not {length}"


def main():
    path = sys.argv[1]
    domains = {False: {}, True: {"DomainName": "hooks.example.com", "CertificateArn": CERTIFICATE}}
    gradual = expand(path=path)["Parameters"]["GradualDeployment"]["AllowedValues"]
    count = 0
    for deployment in gradual:
        template = expand(path=path, GradualDeployment=deployment)
        check_description(template)
        for entrance, domain, log, key, queue, email, healer in itertools.product(
            ENTRANCES, domains, ["off", "on"], ["", OWN_KEY], ["standard", "fifo"], ["", "a@example.com"], ["false", "true"]
        ):
            if entrance == "function-url" and (domain or log == "on"):
                continue
            deployed = Deployed(
                template,
                Entrance=entrance,
                AccessLog=log,
                KmsKeyArn=key,
                ContactsQueueType=queue,
                AlarmEmail=email,
                GradualDeployment=deployment,
                HealerEnabled=healer,
                **domains[domain],
            )
            check_entrance(deployed, entrance, domain)
            check_gradual(deployed, deployment)
            check_key(deployed, key)
            check_tls_only(deployed)
            check_healer(deployed, healer == "true", key)
            count += 1
    print(f"{count} combinations: every request to the entrance reaches the function, with the permissions of that entrance")


main()
