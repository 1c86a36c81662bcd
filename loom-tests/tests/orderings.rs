//! docs/orderings.md against the source, both ways; and each ordering against the model that is said to fail without it.

use resumption_loom_tests::models;
use resumption_loom_tests::orderings::{Needed, Row, Site, disagreements, rows, sites};
use resumption_loom_tests::run::{Defect, Model, failure};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

fn engine() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn all_sites() -> Vec<Site> {
    sites(&engine().join("src")).expect("the sources are there")
}

fn all_rows() -> Vec<Row> {
    rows(&std::fs::read_to_string(engine().join("docs/orderings.md")).expect("the document is there"))
}

/// Does `work` for each of `items`, on two threads.
fn share<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

#[test]
fn rows_and_code_agree() {
    let found = disagreements(&all_sites(), &all_rows());
    assert!(found.is_empty(), "docs/orderings.md and src:\n{}", found.join("\n"));
}

#[test]
fn models_fail_when_an_ordering_is_weakened() {
    let (sites, rows) = (all_sites(), all_rows());
    let mut cases = Vec::new();
    for site in &sites {
        let row = rows.iter().find(|row| row.file == site.file && row.step == site.step);
        for half in site.halves() {
            if let Some(Needed::By(model)) = row.map(|row| row.needed(*half)) {
                cases.push((site, *half, models::named(model)));
            }
        }
    }
    assert!(cases.len() > 20, "only {} orderings have a model", cases.len());
    let unnoticed = Mutex::new(Vec::new());
    share(&cases, |(site, half, model)| match failure(&Defect::Ordering(site.without(*half)), *model) {
        Some(what) => println!("{site} without {half:?}: caught by {}: {what}", model.name),
        None => {
            let what = format!("{} does not notice: {site} without {half:?}", model.name);
            unnoticed.lock().expect("nobody panics with it").push(what);
        }
    });
    let unnoticed = unnoticed.into_inner().expect("nobody panicked with it");
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

/// The models of the part of the engine that a file belongs to.
fn models_of(file: &str) -> Vec<Model> {
    let parts: &[&[Model]] = match file.split_once('/').map_or(file, |(part, _)| part) {
        "table" => {
            &[models::table::MODELS, models::filter::MODELS, models::growth::MODELS, models::context::MODELS]
        }
        "wheel" => &[models::wheel::MODELS, models::together::MODELS],
        "epoch" => &[models::ledger::MODELS, models::connection::MODELS, models::reclamation::MODELS],
        "ledger" => &[models::ledger::MODELS, models::standing::MODELS],
        _ => &[models::capacity::MODELS, models::together::MODELS, models::context::MODELS],
    };
    parts.concat()
}

/// For who writes a row: the first model that fails when an ordering is weakened. `RESUMPTION_SITES` chooses files by what
/// is in their names, `RESUMPTION_SKIP` leaves models out.
#[test]
#[ignore = "takes long, and decides nothing"]
fn which_model_fails() {
    let wanted = std::env::var("RESUMPTION_SITES").unwrap_or_default();
    let skipped = std::env::var("RESUMPTION_SKIP").unwrap_or_default();
    let chosen: Vec<_> = all_sites().into_iter().filter(|site| site.file.contains(&wanted)).collect();
    let cases: Vec<_> =
        chosen.iter().flat_map(|site| site.halves().iter().map(move |half| (site, *half))).collect();
    share(&cases, |(site, half)| {
        let defect = Defect::Ordering(site.without(*half));
        let mut models = models_of(&site.file).into_iter();
        let caught = models
            .by_ref()
            .filter(|model| !skipped.split(',').any(|name| name == model.name))
            .find(|model| failure(&defect, *model).is_some());
        println!("{site} without {half:?}: {}", caught.map_or("nothing", |model| model.name));
    });
}
