"""ministack that reads, of the versions of a secret with a staging label, the one that was created last.

AWS keeps a label on one version alone, the one to which it was attached last. The two are the same as long as no label moves back to an earlier
version. ministack leaves the label on the earlier version too, and reads that. The operator's ledger is such a version. This fails when
ministack does it right: then use it as it is.
"""

from ministack import app
from ministack.services import secretsmanager

unpatched = secretsmanager._find_stage_version


def newest_with(secret, stage):
    newest_first = dict(reversed(secret["Versions"].items()))
    return unpatched({"Versions": newest_first}, stage)


if __name__ == "__main__":
    versions = {"first": {"Stages": ["LABEL"]}, "second": {"Stages": ["LABEL"]}}
    assert unpatched({"Versions": versions}, "LABEL")[0] == "first", "ministack has changed: is this patch still needed?"
    secretsmanager._find_stage_version = newest_with
    app.main()
