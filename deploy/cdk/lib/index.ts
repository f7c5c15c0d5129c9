import { join } from "node:path";
import { CfnOutput, Fn, Token } from "aws-cdk-lib";
import { CfnInclude } from "aws-cdk-lib/cloudformation-include";
import * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import * as lambda from "aws-cdk-lib/aws-lambda";
import * as assets from "aws-cdk-lib/aws-s3-assets";
import * as sam from "aws-cdk-lib/aws-sam";
import * as secretsmanager from "aws-cdk-lib/aws-secretsmanager";
import * as sns from "aws-cdk-lib/aws-sns";
import * as sqs from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import { Parameters } from "./parameters";

export { Parameters } from "./parameters";

/** What {@link TitanxReceiver} needs, and the parameters of its stack. Those that are not given stay parameters of your stack. */
export interface TitanxReceiverProps extends Parameters {
  /** Path of the released zip of the function, `titanx-receiver-VERSION-ARCHITECTURE.zip`. */
  readonly code: string;
  /** Path of the released zip of the healer, `titanx-healer-VERSION-ARCHITECTURE.zip`. Without it, there is no healer. */
  readonly healerCode?: string;
  /**
   * The architecture of these zips.
   * @default arm64
   */
  readonly architecture?: lambda.Architecture;
}

/**
 * The receiver for TitanX webhooks, with its API, tables, queues, secret and alarms.
 *
 * It includes the very template.yaml that `sam deploy` deploys, with its logical ids. So a stack can have one of it, and a deployed stack
 * can move from SAM to CDK without a new queue.
 */
export class TitanxReceiver extends Construct {
  /** Every resource of the template by its logical id, to change what no property covers. */
  readonly template: CfnInclude;
  /** The URL that TitanX posts events to. */
  readonly webhookUrl: string;
  /** Holds TitanX's signing secret. Until it is stored, the function answers every delivery with 503. */
  readonly webhookSecret: secretsmanager.ISecret;
  /** The scored contacts, for your consumer: `new SqsEventSource(receiver.contactsQueue, { reportBatchItemFailures: true })`. */
  readonly contactsQueue: sqs.IQueue;
  /** Where a contact is after five failures of the consumer. */
  readonly contactsDeadLetterQueue: sqs.IQueue;
  /** What was signed but not understood. */
  readonly quarantineQueue: sqs.IQueue;
  /** One record for each delivery. */
  readonly deliveriesTable: dynamodb.ITable;
  /** One item for each completed job, with a stream. */
  readonly jobsTable: dynamodb.ITable;
  /** Every alarm is published to it. */
  readonly alarmTopic: sns.ITopic;

  constructor(scope: Construct, id: string, props: TitanxReceiverProps) {
    super(scope, id);
    const { code, healerCode, architecture = lambda.Architecture.ARM_64, ...parameters } = props;
    if (healerCode === undefined) {
      if (parameters.healerEnabled === "true") throw new Error("healerEnabled needs healerCode");
      Object.assign(parameters, { healerEnabled: "false" });
    }
    const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
    this.template = new CfnInclude(this, "Template", {
      templateFile: join(__dirname, "template.yaml"),
      parameters: {
        ...Object.fromEntries(given.map(([name, value]) => [name[0].toUpperCase() + name.slice(1), value])),
        // See generate.mjs.
        "ReceiverFunction.Alias": Fn.ref("ReceiverFunction.Alias"),
      },
      // A resource may name one that depends on it, as an alarm that a deployment of the function watches.
      allowCyclicalReferences: true,
    });

    this.template.getResource("WebhookFunctionUrl").addOverride("DependsOn", "ReceiverFunctionAliaslive");

    // SAM's transform asks for the code of a function even if its condition does not hold.
    const asset = new assets.Asset(this, "Code", { path: code });
    const healerAsset = healerCode === undefined ? asset : new assets.Asset(this, "HealerCode", { path: healerCode });
    for (const [name, { s3BucketName, s3ObjectKey }] of [["ReceiverFunction", asset], ["HealerFunction", healerAsset]] as const) {
      const built = this.template.getResource(name) as sam.CfnFunction;
      built.codeUri = { bucket: s3BucketName, key: s3ObjectKey };
      built.architectures = [architecture.name];
      // SAM's instruction to build the function. It is built already.
      built.cfnOptions.metadata = undefined;
    }

    this.webhookUrl = Token.asString(this.output("WebhookUrl").value);
    this.webhookSecret = secretsmanager.Secret.fromSecretCompleteArn(this, "WebhookSecret", this.ref("WebhookSecret"));
    const fifo = props.contactsQueueType === "fifo";
    this.contactsQueue = this.queue("ContactsQueue", fifo);
    this.contactsDeadLetterQueue = this.queue("ContactsDeadLetterQueue", fifo);
    this.quarantineQueue = this.queue("QuarantineQueue");
    this.deliveriesTable = dynamodb.Table.fromTableArn(this, "DeliveriesTable", this.attribute("DeliveriesTable", "Arn"));
    this.jobsTable = dynamodb.Table.fromTableAttributes(this, "JobsTable", {
      tableArn: this.attribute("JobsTable", "Arn"),
      tableStreamArn: this.attribute("JobsTable", "StreamArn"),
    });
    this.alarmTopic = sns.Topic.fromTopicArn(this, "AlarmTopic", this.ref("AlarmTopic"));
  }

  private queue(logicalId: string, fifo = false): sqs.IQueue {
    return sqs.Queue.fromQueueAttributes(this, logicalId, {
      // The ARN, which would tell, is not known yet.
      fifo,
      queueArn: this.attribute(logicalId, "Arn"),
      queueUrl: this.ref(logicalId),
    });
  }

  private output(logicalId: string): CfnOutput {
    return this.template.getOutput(logicalId);
  }

  private ref(logicalId: string): string {
    return this.template.getResource(logicalId).ref;
  }

  private attribute(logicalId: string, name: string): string {
    return Fn.getAtt(logicalId, name).toString();
  }
}
