// The app that scripts/cdk-check synthesises: one stack with the template's defaults, one with every parameter given and a consumer.
import { App, CfnOutput, Duration, Stack } from "aws-cdk-lib";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { SqsEventSource } from "aws-cdk-lib/aws-lambda-event-sources";
import { TitanxReceiver } from "../lib";

const [, , code, values] = process.argv;
const app = new App();

new TitanxReceiver(new Stack(app, "Defaults"), "Receiver", { code, healerCode: code });
// Without the healer's code it cannot be enabled.
new TitanxReceiver(new Stack(app, "WithoutHealer"), "Receiver", { code });

const stack = new Stack(app, "Given");
const receiver = new TitanxReceiver(stack, "Receiver", {
  code,
  healerCode: code,
  architecture: lambda.Architecture.X86_64,
  ...JSON.parse(values),
});
const consumer = new lambda.Function(stack, "Consumer", {
  runtime: lambda.Runtime.PYTHON_3_13,
  handler: "index.handler",
  code: lambda.Code.fromInline("def handler(event, context): pass"),
  timeout: Duration.seconds(30),
});
consumer.addEventSource(new SqsEventSource(receiver.contactsQueue, { reportBatchItemFailures: true }));
receiver.jobsTable.grantStreamRead(consumer);
receiver.deliveriesTable.grantReadData(consumer);
receiver.webhookSecret.grantRead(consumer);
receiver.contactsDeadLetterQueue.grantSendMessages(consumer);
receiver.quarantineQueue.grantConsumeMessages(consumer);
new CfnOutput(stack, "Url", { value: receiver.webhookUrl });
new CfnOutput(stack, "Topic", { value: receiver.alarmTopic.topicArn });
app.synth();
