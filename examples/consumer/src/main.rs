//! An example of a consumer: a Lambda function on the contacts queue that applies each scored contact
//! once, whatever is delivered twice and wherever it is killed.
//!
//! [`batch`] reports which messages of a batch failed, [`contact`] reads a message, and [`store`]
//! applies a contact together with the mark that it was applied. To make it yours, change [`store`].
//! `docs/consumers.md` explains what it guards against.
//!
//! It needs the tables `APPLIED_TABLE` (key `delivery_id`, TTL attribute `expiration`) and
//! `CONTACTS_TABLE` (key `contact_id`), and an event source mapping with `ReportBatchItemFailures`.

mod batch;
mod contact;
mod event;
mod store;

use std::{env, sync::Arc};

use aws_config::BehaviorVersion;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use lambda_runtime::{Error, LambdaEvent, service_fn};

use crate::{event::Batch, store::Store};

fn main() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Error> {
    let http = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    let store = Arc::new(Store {
        dynamodb: aws_sdk_dynamodb::Client::new(&config.load().await),
        applied: env::var("APPLIED_TABLE")?,
        contacts: env::var("CONTACTS_TABLE")?,
    });
    let handler = service_fn(move |event: LambdaEvent<Batch>| {
        let store = Arc::clone(&store);
        async move { Ok::<_, Error>(batch::process(&store, &event.payload).await) }
    });
    lambda_runtime::run(handler).await
}
