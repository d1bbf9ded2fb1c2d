//! What a browser makes of a form that submits itself.

/// Address and body of a form, as a browser submits it.
pub fn submitted(html: &str) -> (String, String) {
    let between = |text: &str, a: &str, b: &str| {
        let rest = text.split_once(a).unwrap_or_else(|| panic!("no {a} in {html}")).1;
        let value = rest.split_once(b).unwrap().0;
        value
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
    };
    let address = between(html, "action=\"", "\"");
    let fields: Vec<(String, String)> = html
        .split("<input")
        .skip(1)
        .filter(|input| input.contains("name=\""))
        .map(|input| (between(input, "name=\"", "\""), between(input, "value=\"", "\"")))
        .collect();
    let mut url = reqwest::Url::parse("http://x/").unwrap();
    url.query_pairs_mut().extend_pairs(fields);
    (address, url.query().unwrap_or_default().to_owned())
}
