#!/usr/bin/env bash
# The CDK's one-time schedule fires hours away from the date that it is given, by the offset of its time zone.
#
# Expected, written down before the first run: ScheduleExpression.at(date, zone) fires at the instant that the Date is,
# written as the time of day in that zone.
# Observed: it writes the Date's time of day in UTC and the zone's name beside it. So 2026-07-05T12:00:00Z with New York is
# 12:00 in New York, 16:00 UTC, four hours late, and with Tokyo nine hours early, perhaps in the past. The README's
# example, new Date(2022, 10, 20, 19, 20, 23) with New York, is right only on a machine whose clock is set to UTC: on a
# developer's machine in Berlin the same stack fires an hour earlier than from CI, and in California eight hours later.
# Start and end of the schedule are instants, beside it in the same template. Without a zone, and with dates that are
# made in UTC, all is right.
# Versions: aws-cdk-lib 2.276.0, constructs 10.8.1, Node 20.
# Documented: that the zone is for "interpreting the date". A Date of JavaScript is an instant and has no zone.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  aws-cdk-lib@2.276.0 constructs@10.8.1 >log 2>&1 ||
  { cat log; exit 1; }
cat >schedules.js <<'JS'
const cdk = require('aws-cdk-lib');
const { Schedule, ScheduleExpression } = require('aws-cdk-lib/aws-scheduler');
const { SqsSendMessage } = require('aws-cdk-lib/aws-scheduler-targets');
const { Queue } = require('aws-cdk-lib/aws-sqs');

// The instant of a time of day in a zone, by Node's own data of zones: the offset is the same at both ends here.
const instant = (time, timeZone) => {
  const utc = new Date(`${time}Z`);
  const there = new Date(`${utc.toLocaleString('sv-SE', { timeZone }).replace(' ', 'T')}Z`);
  return new Date(2 * utc - there);
};
const instants = [undefined, cdk.TimeZone.AMERICA_NEW_YORK, cdk.TimeZone.ASIA_TOKYO].map((zone) => [
  'an instant',
  new Date('2026-07-05T12:00:00Z'),
  zone,
]);
const example = ["the README's example", new Date(2022, 10, 20, 19, 20, 23), cdk.TimeZone.AMERICA_NEW_YORK];
for (const [name, date, zone] of process.env.TZ === 'UTC' ? [...instants, example] : [example]) {
  const app = new cdk.App({ outdir: 'out', analyticsReporting: false });
  const stack = new cdk.Stack(app, 'Stack');
  new Schedule(stack, 'Schedule', {
    schedule: ScheduleExpression.at(date, zone),
    target: new SqsSendMessage(new Queue(stack, 'Queue')),
  });
  const resources = Object.values(app.synth().getStackByName('Stack').template.Resources);
  const { ScheduleExpression: at, ScheduleExpressionTimezone: there } = resources.find(
    ({ Type }) => Type === 'AWS::Scheduler::Schedule',
  ).Properties;
  const late = (instant(at.slice(3, -1), there) - date) / 3_600_000;
  console.log(`in ${process.env.TZ}: ${name}: ${at} ${there}, ${late} h after the date`);
}
JS
seen=$(for zone in UTC Europe/Berlin America/Los_Angeles; do TZ=$zone node schedules.js 2>>log; done) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "in UTC: an instant: at(2026-07-05T12:00:00) Etc/UTC, 0 h after the date
in UTC: an instant: at(2026-07-05T12:00:00) America/New_York, 4 h after the date
in UTC: an instant: at(2026-07-05T12:00:00) Asia/Tokyo, -9 h after the date
in UTC: the README's example: at(2022-11-20T19:20:23) America/New_York, 5 h after the date
in Europe/Berlin: the README's example: at(2022-11-20T18:20:23) America/New_York, 5 h after the date
in America/Los_Angeles: the README's example: at(2022-11-21T03:20:23) America/New_York, 5 h after the date" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
