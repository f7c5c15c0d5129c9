//! Tests of Secrets Manager: a new value becomes current at once.

use std::collections::HashMap;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::primitives::Blob;

use super::{Service, client, unique};

fn service() -> Service<Client> {
    Service::start(
        "CROSS_CHECK_SECRETS_MANAGER",
        |emulators| &emulators.secrets_manager_url,
        |url| client!(aws_sdk_secretsmanager, url),
    )
}

async fn create(client: &Client, name: &str, value: &str) -> String {
    let create = client.create_secret().name(name).secret_string(value);
    create.send().await.unwrap().arn.unwrap()
}

async fn value(client: &Client, secret: &str) -> String {
    let get = client.get_secret_value().secret_id(secret);
    get.send().await.unwrap().secret_string.unwrap()
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    let error = error.as_service_error().expect("the service answered");
    error.code().expect("an error has a code").to_owned()
}

#[tokio::test]
async fn reads_the_current_value_by_name_and_by_arn() {
    let client = service();
    let name = unique("secret");
    let arn = create(&client, &name, "first").await;
    assert_eq!(value(&client, &name).await, "first");
    assert_eq!(value(&client, &arn).await, "first");
    let got = client
        .get_secret_value()
        .secret_id(&arn)
        .send()
        .await
        .unwrap();
    assert_eq!((got.arn(), got.name()), (Some(&*arn), Some(&*name)));
    assert_eq!(got.version_stages(), ["AWSCURRENT"]);
}

#[tokio::test]
async fn a_new_value_becomes_current_and_the_old_one_previous() {
    let client = service();
    let name = unique("secret");
    create(&client, &name, "first").await;
    for new in ["second", "third"] {
        let put = client
            .put_secret_value()
            .secret_id(&name)
            .secret_string(new);
        let put = put.send().await.unwrap();
        assert_eq!(put.version_stages(), ["AWSCURRENT"]);
        assert_eq!(value(&client, &name).await, new);
    }
    let previous = client.get_secret_value().secret_id(&name);
    let previous = previous.version_stage("AWSPREVIOUS").send().await.unwrap();
    assert_eq!(previous.secret_string(), Some("second"));
}

#[tokio::test]
async fn an_update_keeps_other_properties() {
    let client = service();
    let name = unique("secret");
    create(&client, &name, "first").await;
    let described = client
        .update_secret()
        .secret_id(&name)
        .description("signing");
    described.send().await.unwrap();
    assert_eq!(value(&client, &name).await, "first");
    let valued = client
        .update_secret()
        .secret_id(&name)
        .secret_string("second");
    valued.send().await.unwrap();
    assert_eq!(value(&client, &name).await, "second");
    let described = client
        .describe_secret()
        .secret_id(&name)
        .send()
        .await
        .unwrap();
    assert_eq!(described.description(), Some("signing"));
}

#[tokio::test]
async fn a_description_contains_the_versions_but_no_value() {
    let client = service();
    let name = unique("secret");
    let arn = create(&client, &name, "first").await;
    let put = client
        .put_secret_value()
        .secret_id(&name)
        .secret_string("second");
    let current = put.send().await.unwrap().version_id.unwrap();
    let described = client
        .describe_secret()
        .secret_id(&name)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (described.arn(), described.name()),
        (Some(&*arn), Some(&*name))
    );
    assert!(described.last_changed_date() >= described.created_date());
    let versions: HashMap<_, _> = described.version_ids_to_stages.unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[&current], ["AWSCURRENT"]);
    assert!(versions.values().any(|stages| stages == &["AWSPREVIOUS"]));
}

#[tokio::test]
async fn a_value_can_be_binary() {
    let client = service();
    let name = unique("secret");
    let create = client.create_secret().name(&name);
    let create = create.secret_binary(Blob::new([0, 255]));
    create.send().await.unwrap();
    let got = client
        .get_secret_value()
        .secret_id(&name)
        .send()
        .await
        .unwrap();
    assert_eq!(got.secret_string(), None);
    assert_eq!(got.secret_binary().unwrap().as_ref(), [0, 255]);
}

#[tokio::test]
async fn reports_an_absent_secret() {
    let client = service();
    let name = unique("absent");
    let get = client.get_secret_value().secret_id(&name).send().await;
    assert_eq!(code(&get.unwrap_err()), "ResourceNotFoundException");
    let put = client
        .put_secret_value()
        .secret_id(&name)
        .secret_string("value");
    assert_eq!(
        code(&put.send().await.unwrap_err()),
        "ResourceNotFoundException"
    );
    let describe = client.describe_secret().secret_id(&name).send().await;
    assert_eq!(code(&describe.unwrap_err()), "ResourceNotFoundException");
}

#[tokio::test]
async fn reports_an_absent_version() {
    let client = service();
    let name = unique("secret");
    create(&client, &name, "first").await;
    let get = client.get_secret_value().secret_id(&name);
    let get = get.version_stage("AWSPREVIOUS").send().await;
    assert_eq!(code(&get.unwrap_err()), "ResourceNotFoundException");
}

#[tokio::test]
async fn refuses_a_second_secret_with_the_same_name() {
    let client = service();
    let name = unique("secret");
    create(&client, &name, "first").await;
    let again = client.create_secret().name(&name).secret_string("second");
    let error = again.send().await.unwrap_err();
    assert_eq!(code(&error), "ResourceExistsException");
    assert_eq!(value(&client, &name).await, "first");
}

/// Behaviour that AWS documents but the other implementations lack.
mod documented {
    use super::*;

    #[tokio::test]
    async fn a_value_has_1_to_65536_bytes() {
        let client = service();
        let name = unique("secret");
        create(&client, &name, &"x".repeat(65_536)).await;
        for length in [0, 65_537] {
            let put = client.put_secret_value().secret_id(&name);
            let put = put.secret_string("x".repeat(length)).send().await;
            assert_eq!(code(&put.unwrap_err()), "ValidationException");
        }
    }

    #[tokio::test]
    async fn a_put_repeated_with_its_token_changes_nothing() {
        let client = service();
        let name = unique("secret");
        create(&client, &name, "first").await;
        let put = |value: &str| {
            let put = client.put_secret_value().secret_id(&name);
            put.client_request_token("11111111-2222-4333-8444-555555555555")
                .secret_string(value)
                .send()
        };
        let second = put("second").await.unwrap();
        let again = put("second").await.unwrap();
        assert_eq!(again.version_id(), second.version_id());
        let previous = client.get_secret_value().secret_id(&name);
        let previous = previous.version_stage("AWSPREVIOUS").send().await.unwrap();
        assert_eq!(previous.secret_string(), Some("first"));
        let other = put("other").await.unwrap_err();
        assert_eq!(code(&other), "ResourceExistsException");
    }

    #[tokio::test]
    async fn refuses_a_put_without_a_value() {
        let client = service();
        let name = unique("secret");
        create(&client, &name, "first").await;
        let put = client.put_secret_value().secret_id(&name).send().await;
        assert_eq!(code(&put.unwrap_err()), "InvalidRequestException");
    }
}
