//! The filter language.

use trunkline::{
    journal::query::Filter,
    wire::record::{AttemptRecord, Record},
};

use super::sample;

fn matches(filter: &str, record: &Record) -> bool {
    Filter::parse(filter).unwrap_or_else(|mistake| panic!("{filter}: {mistake}")).matches(record)
}

#[test]
fn filters_mean_what_they_say() {
    let record = sample(1);
    for filter in [
        "status==200",
        "status = 200 && stream",
        "status>=200&&status<300",
        "status!=500 || model~gpt",
        "model~\"^gpt-4o\"",
        "model !~ \"claude\"",
        "requested_model==gpt-4o-mini",
        "provider==openai && virtual_key=='openai-prod'",
        "ttft>250ms && ttft<0.5s && ttft==261ms",
        "total<=900.1ms",
        "upstream>800000us && gw<100ms",
        "tokens==976 && input>0.8k && output<=164",
        "cost>0.0002 && cost<$0.001 && cost==0.0002202USD",
        "bytes_in<1.5KiB && bytes_out==9kB",
        "meta.team==blue && meta.team!=red",
        "api_key~team",
        "!(truncated || client_gone) && !hedged && hedged==false && stream!=false",
        "attempts==1 && retries==0 && cache==MISS",
        "error==\"\" && error_source=='' && config==support",
        "id~^00000001 && trace==trace-1 && epoch==3 && core==0",
        "seed==1311768467463790320 && path==/v1/chat/completions && method==POST",
        "client~'^10\\.' && cost_status==exact && dialect==openai",
        "((((status==200))))",
    ] {
        assert!(matches(filter, &record), "{filter}");
        assert!(!matches(&format!("!({filter})"), &record), "{filter}");
    }
}

#[test]
fn a_missing_value_makes_every_comparison_false() {
    let record = Record::default();
    for filter in
        ["ttft>0s", "ttft<=2s", "ttft==0s", "ttft!=1s", "tokens<5", "cost==0", "status<500"]
    {
        assert!(!matches(filter, &record), "{filter}");
    }
    assert!(!matches("meta.team!=red", &record));
    assert!(matches("!(ttft>2s)", &record));
    assert!(matches("provider==''", &record));
}

#[test]
fn retries_are_counted_per_target() {
    let attempt =
        |target: &str| AttemptRecord { target: target.into(), ..AttemptRecord::default() };
    let attempts = vec![attempt("a"), attempt("a"), attempt("b"), attempt("b"), attempt("b")];
    let record = Record { attempts, ..Record::default() };
    assert!(matches("retries==3 && attempts==5 && target==b", &record));
}

#[test]
fn mistakes_say_where_and_what_to_write() {
    for (filter, expected) in [
        ("", "column 1: write a condition here, as in status>=500"),
        ("status>=", "column 9: write what status is compared with"),
        ("status", "column 1: status is not true or false: compare it, as in status>0"),
        (
            "model",
            "column 1: model is not true or false: compare it, as in model==\"…\" or model~\"…\"",
        ),
        ("statsu==1", "column 1: there is no field `statsu`; did you mean `status`?"),
        ("status==200 &", "column 13: write && for and"),
        ("status==200 | stream", "column 13: write || for or"),
        ("status==200 stream", "column 13: write && or || between two conditions"),
        ("(status==200", "column 1: there is no ) for this ("),
        ("status==200)", "column 12: there is no ( for this )"),
        ("(status==200 stream)", "column 14: write &&, || or ) here"),
        ("status=~200", "column 7: write ~ for a regular expression"),
        ("status<>200", "column 7: write != for not equal"),
        ("model==\"gpt", "column 8: this text never ends: add a \" behind it"),
        ("model<gpt", "column 6: model is a text: compare it with ==, !=, ~ or !~, not <"),
        ("status~5", "column 7: status is a number: compare it with ==, !=, <, <=, > or >=, not ~"),
        ("stream>1", "column 7: stream is true or false: write stream or !stream"),
        ("stream==yes", "column 9: stream is true or false: write stream or !stream"),
        ("ttft>2", "column 6: ttft is a time: give `2` a unit, as in 2ms or 2s"),
        (
            "ttft>2parsecs",
            "column 6: `parsecs` is no unit of ttft; write a time, as in ttft>2s (ns, us, ms, s, m, h, d)",
        ),
        (
            "status==ok",
            "column 9: `ok` is no number; write a number, as in status>=500 (k and M for thousands and millions)",
        ),
        (
            "tokens>1.2.3",
            "column 8: `1.2.3` is no number; write a number, as in tokens>=500 (k and M for thousands and millions)",
        ),
        (
            "bytes_in>1XB",
            "column 10: `XB` is no unit of bytes_in; write a size, as in bytes_in>64KiB (B, kB, MB, GB, KiB, MiB, GiB)",
        ),
        ("cost>1EUR", "column 6: `EUR` is no unit of cost; write dollars, as in cost>0.01"),
        (
            "tokens>99999999999999999999",
            "column 8: `99999999999999999999` is too large or has too many decimals for tokens",
        ),
        ("model~'('", "column 7: this is no regular expression: unclosed group"),
        ("\"gpt\"==model", "column 1: begin with a field, as in model==\"gpt\""),
    ] {
        let mistake = Filter::parse(filter).expect_err(filter);
        assert_eq!(mistake.to_string(), expected, "{filter}");
    }
}

#[test]
fn an_unknown_field_far_from_all_lists_them() {
    let mistake = Filter::parse("stream && latency_of_x>2").unwrap_err();
    assert_eq!(mistake.column, 11);
    assert!(
        mistake.message.starts_with("there is no field `latency_of_x`; the fields are id, status,")
    );
    assert!(mistake.message.ends_with("meta.KEY"));
}

#[test]
fn a_mistake_is_shown_under_its_place() {
    let text = "status==200 & stream";
    let shown = Filter::parse(text).unwrap_err().show(text);
    assert_eq!(shown, "  status==200 & stream\n              ^ column 13: write && for and");
}

#[test]
fn hostile_filters_are_refused_quickly() {
    let nested = format!("{}stream{}", "(".repeat(2000), ")".repeat(2000));
    assert!(Filter::parse(&nested).unwrap_err().message.contains("nested too deeply"));
    assert!(Filter::parse(&"!".repeat(2000)).unwrap_err().message.contains("nested too deeply"));
    assert!(
        Filter::parse(&"stream||".repeat(2000)).unwrap_err().message.contains("at most 4096 bytes")
    );
    assert!(
        Filter::parse("model~'(((a{99}){99}){99})'")
            .unwrap_err()
            .message
            .contains("regular expression")
    );
}
