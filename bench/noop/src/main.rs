//! The least that `lambda_http` can do: every request is answered 200 and nothing is looked at.
//! What the receiver takes above this is its own.

use lambda_http::{Body, Error, Request, Response, run, service_fn};

fn main() -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(service_fn(answer)))
}

async fn answer(_: Request) -> Result<Response<Body>, Error> {
    Ok(Response::new(r#"{"received": true}"#.into()))
}
