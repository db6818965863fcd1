//! Index templates of the cluster: none of them changes what readers get, and none stops a day for good.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::World;

/// Where templates are kept: composable and legacy ones.
const KINDS: [&str; 2] = ["_index_template", "_template"];

impl World {
    /// Makes a template for the indices of this world alone.
    async fn add_template(&self, kind: &str, settings: Value, mappings: Value, aliases: Value) {
        let template = json!({ "settings": settings, "mappings": mappings, "aliases": aliases });
        let mut body = json!({ "index_patterns": [format!("{}*", self.prefix)] });
        if kind == "_template" {
            body.as_object_mut()
                .unwrap()
                .extend(template.as_object().unwrap().clone());
        } else {
            body["template"] = template;
        }
        let path = format!("{kind}/{}-template", self.prefix);
        let answer = self.elastic(Method::PUT, &path, Some(body)).await;
        assert_eq!(answer["acknowledged"], true, "{answer}");
    }

    async fn delete_template(&self, kind: &str) {
        self.elastic(
            Method::DELETE,
            &format!("{kind}/{}-template", self.prefix),
            None,
        )
        .await;
    }

    /// Mappings and settings of all indices of this world, but for what differs from index to index.
    async fn designs(&self) -> Value {
        let path = format!("{}*?expand_wildcards=all&flat_settings=true", self.prefix);
        let mut indices = self.elastic(Method::GET, &path, None).await;
        for index in indices.as_object_mut().expect("indices").values_mut() {
            index["mappings"]["_meta"].take();
            for own in ["index.uuid", "index.creation_date", "index.provided_name"] {
                index["settings"][own].take();
            }
        }
        let text = indices.to_string().replace(&self.prefix, "");
        serde_json::from_str(&text).expect("JSON")
    }
}

#[tokio::test]
async fn what_a_template_says_is_overridden_where_it_can_be() {
    let plain = World::with_projections().await;
    plain
        .run(&["rebuild", "--only", "totals"])
        .await
        .assert_exit(0);
    for kind in KINDS {
        let world = World::with_history().await;
        let settings = json!({
            "index.hidden": false, "index.refresh_interval": "30s", "index.number_of_shards": 3,
            "index.auto_expand_replicas": false, "index.number_of_replicas": 2, "index.gc_deletes": "1h",
            "index.default_pipeline": "missing", "index.final_pipeline": "missing", "index.max_result_window": 10,
            "index.mapping.ignore_malformed": true, "index.mapping.total_fields.limit": 5, "index.blocks.write": true,
            "index.blocks.read": true, "index.blocks.read_only": true, "index.blocks.metadata": true,
        });
        let mappings = json!({
            "dynamic": true, "_source": { "enabled": false },
            "properties": { "recordset_id": { "type": "text" }, "entry_id": { "type": "keyword" } },
        });
        let aliases = json!({ format!("{}-of-a-template", world.prefix): {} });
        world.add_template(kind, settings, mappings, aliases).await;
        world.run(&["project"]).await.assert_exit(0);
        world
            .run(&["rebuild", "--only", "totals"])
            .await
            .assert_exit(0);
        world.run(&["verify", "--projections"]).await.assert_exit(0);
        world.assert_documents(&plain.projections().await).await;
        assert_eq!(world.behind("-of-a-template").await, [""; 0], "{kind}");
        // What is of no consequence, a template may say.
        let designs = world.designs().await;
        assert_eq!(designs, plain.designs().await, "{kind}");
        world.delete_template(kind).await;
        world.end().await;
    }
    plain.end().await;
}

#[tokio::test]
async fn a_template_for_every_index_and_fields_that_no_document_has_do_no_harm() {
    let world = World::with_history().await;
    let mappings = json!({
        "properties": { "@timestamp": { "type": "date" } }, "date_detection": false,
        "dynamic_templates": [{ "texts": { "match": "*", "mapping": { "type": "text" } } }],
        "runtime": { "somebody's": { "type": "keyword" } },
    });
    world
        .add_template(
            "_index_template",
            json!({ "index.codec": "best_compression" }),
            mappings,
            json!({}),
        )
        .await;
    world.run(&["project"]).await.assert_exit(0);
    world.run(&["rebuild"]).await.assert_exit(0);
    world.run(&["verify"]).await.assert_exit(0);
    world.delete_template("_index_template").await;
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_overridden_is_refused_with_the_templates_name_and_leaves_nothing_behind() {
    let world = World::with_history().await;
    let of_legacy = |mappings: Value| ("_template", mappings);
    let of_either = |mappings: Value| KINDS.map(|kind| (kind, mappings.clone()));
    let mut cases = vec![
        of_legacy(
            json!({ "properties": { "recordset_id": { "type": "keyword", "fields": { "text": { "type": "text" } } } } }),
        ),
        of_legacy(json!({ "properties": { "entry_id": { "type": "long", "null_value": 0 } } })),
        of_legacy(json!({ "_source": { "excludes": ["records.search.*"] } })),
    ];
    cases.extend(of_either(json!({ "_routing": { "required": true } })));
    cases.extend(of_either(
        json!({ "runtime": { "recordset_id": { "type": "keyword" } } }),
    ));
    for (kind, mappings) in cases {
        world
            .add_template(kind, json!({}), mappings.clone(), json!({}))
            .await;
        let name = format!("the index template {}-template changes it", world.prefix);
        let says = [
            "was not created as requested",
            &name,
            "with a higher priority",
            "run the command again",
        ];
        for (command, exit) in [("project", 1), ("rebuild", 1)] {
            let refused = world.run(&[command]).await;
            assert_eq!(refused.code, Some(exit), "{kind} {mappings}: {refused:?}");
            refused.says(&says);
            assert_eq!(world.indices().await, [""; 0], "{kind} {mappings}");
        }
        world.delete_template(kind).await;
    }
    // A template that Elasticsearch itself refuses to apply is named as well.
    let broken = json!({ "index.sort.field": ["nothing_of_ours"] });
    world
        .add_template("_index_template", broken, json!({}), json!({}))
        .await;
    let name = format!(
        "the index template {}-template may be the cause",
        world.prefix
    );
    world
        .run(&["project"])
        .await
        .assert_exit(1)
        .says(&["creating the index", &name]);

    world.delete_template("_index_template").await;
    world.run(&["project"]).await.assert_exit(0);
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}
