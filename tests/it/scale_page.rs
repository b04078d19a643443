//! What docs/scale.md says of several files: each customer has one of its own.

use perdura::{Config, Context, Error, Failure, Queue, Task};
use serde::{Deserialize, Serialize};

use crate::support::Folder;

#[derive(Serialize, Deserialize)]
struct Invoice;

impl Task for Invoice {
    const NAME: &'static str = "invoice";
    type Output = ();
}

fn invoice(_: Invoice, _: &Context) -> Result<(), Failure> {
    Ok(())
}

#[test]
fn each_customer_has_a_file_of_its_own() -> Result<(), Error> {
    let place = Folder::new();
    let (folder, config, customers) = (place.path(), Config::default().workers(1), ["ada", "grace"]);
    let open = |customer: &&str| {
        let file = folder.join(format!("{customer}.db"));
        Queue::builder().config(config.clone()).handle(invoice).open(file)
    };
    let queues: Vec<Queue> = customers.iter().map(open).collect::<Result<_, _>>()?;
    for queue in &queues {
        let _ = queue.enqueue(&Invoice)?;
        queue.drain()?;
        assert_eq!(queue.counts()?.total().succeeded, 1);
    }
    Ok(())
}
