//! The receiver for TitanX webhooks on AWS.
