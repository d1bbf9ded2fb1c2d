//! Certificate mode: the numbers, what is signed with them, and files that are refused.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, date_time_ymd};

use super::*;
use crate::gateways::alipay::certificates::Numbers;
use crate::gateways::alipay::envelope::Envelope;
use crate::gateways::alipay::signature::{Signer, UNKNOWN_CERTIFICATE, Verifier};

fn key(of: &Value) -> KeyPair {
    KeyPair::from_pkcs8_pem_and_sign_algo(text(&of["private_pkcs8_pem"]), &PKCS_RSA_SHA256).unwrap()
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (part, value) in [(DnType::CountryName, "CN"), (DnType::OrganizationName, "Test"), (DnType::CommonName, name)] {
        params.distinguished_name.push(part, value);
    }
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2049, 1, 1));
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A root, an authority under it, and who is certified by that.
struct Files {
    app: String,
    alipay: String,
    root: String,
    /// Of the authority between.
    class: String,
    issuer: Issuer<'static, KeyPair>,
}

fn alipay_key() -> KeyPair {
    key(&vectors::keys()["alipay"]["alipay"])
}

fn app_key() -> KeyPair {
    key(&vectors::keys()["alipay"]["app"])
}

impl Files {
    fn new() -> Self {
        let wechat = &vectors::keys()["wechat"];
        let root_key = key(&wechat["merchant"]);
        let root = authority("Root").self_signed(&root_key).unwrap().pem();
        let class_key = key(&wechat["platform_cert_1"]);
        let root_issuer = Issuer::new(authority("Root"), root_key);
        let class = authority("Class 2").signed_by(&class_key, &root_issuer).unwrap().pem();
        let issuer = Issuer::new(authority("Class 2"), class_key);
        let app = named("App").signed_by(&app_key(), &issuer).unwrap().pem();
        let alipay = named("Alipay").signed_by(&alipay_key(), &issuer).unwrap().pem();
        Self { app, alipay: format!("{alipay}{class}"), root, class, issuer }
    }

    fn open(self) -> Result<Alipay, ConfigError> {
        let mode = Mode::Certificates { app: self.app, alipay: self.alipay, root: self.root };
        Alipay::new(Config { mode, ..vectors::config(Config::GATEWAY_URL) }, Arc::new(Stopped))
    }

    /// What is wrong with Alipay's certificate, made of this.
    fn alipay_is(mut self, params: CertificateParams, behind: &str) -> String {
        let leaf = params.signed_by(&alipay_key(), &self.issuer).unwrap().pem();
        self.alipay = format!("{leaf}{behind}");
        let error = self.open().unwrap_err();
        assert_eq!(error.field(), Some("alipay_cert"), "{error}");
        error.to_string()
    }

    fn app_is(mut self, params: CertificateParams) -> String {
        self.app = params.signed_by(&app_key(), &self.issuer).unwrap().pem();
        let error = self.open().unwrap_err();
        assert_eq!(error.field(), Some("app_cert"), "{error}");
        error.to_string()
    }
}

#[test]
fn the_numbers_are_those_of_the_vectors() {
    let config = vectors::with_certificates(Config::GATEWAY_URL);
    let signer = Signer::new(&config.private_key).unwrap();
    let (verifier, numbers) = Verifier::new(&config.mode, &signer, now()).unwrap();
    let vectors = vectors::request();
    let expected = |name: &str| text(&vectors["cert_sn"][name]).to_owned();
    assert_eq!(numbers, Some(Numbers { app: expected("app_cert_sn"), root: expected("alipay_root_cert_sn") }));

    let cases = vectors::response();
    let case = cases["cases"].as_array().unwrap().iter().find(|case| case["id"] == "cert_mode_with_alipay_cert_sn");
    let raw = text(&case.unwrap()["raw"]);
    let cut = Envelope::cut(raw.as_bytes(), "alipay.trade.query").unwrap();
    let (sign, sn) = (cut.sign.unwrap(), cut.cert_sn.unwrap());
    assert_eq!(sn, expected("alipay_cert_sn"));
    assert_eq!(verifier.node(cut.node, &sign, Some(&sn)).as_deref(), Ok(cut.node));
    assert_eq!(verifier.node(cut.node, &sign, Some("0")), Err(UNKNOWN_CERTIFICATE));
    // The number proves nothing, and where it is left out nothing is missing: the signature decides.
    assert_eq!(verifier.node(cut.node, &sign, None).as_deref(), Ok(cut.node));
    assert_eq!(verifier.node("{}", &sign, Some(&sn)), Err("the signature does not fit"));
}

#[tokio::test]
async fn requests_carry_the_numbers_signed_and_a_new_certificate_of_alipays_is_not_believed() {
    let good = answer(Call::Find.method(), &trade(json!({})).to_string());
    let vectors = vectors::request();
    let sn = text(&vectors["cert_sn"]["alipay_cert_sn"]).to_owned();
    for (sn, believed) in [(sn, true), ("0".repeat(32), false)] {
        let body = good.replace(",\"sign\"", &format!(",\"alipay_cert_sn\":\"{sn}\",\"sign\""));
        let provider = Provider::start(move |_| plain(200, body.clone())).await;
        let connector = Alipay::new(vectors::with_certificates(&provider.url), Arc::new(Stopped)).unwrap();
        let found = connector.find(&payment()).await;
        let fields = provider.asked.lock().unwrap()[0].clone();
        for name in ["app_cert_sn", "alipay_root_cert_sn"] {
            assert_eq!(fields[name], text(&vectors["cert_sn"][name]));
        }
        signed_content(fields);
        if believed {
            assert!(matches!(found, Ok(Some(GatewayPayment::Paid(_)))), "{found:?}");
        } else {
            assert_eq!(unknown(found), UNKNOWN_CERTIFICATE);
        }
    }
    // What is handed to browsers and apps carries them too.
    let connector = Alipay::new(vectors::with_certificates(Config::GATEWAY_URL), Arc::new(Stopped)).unwrap();
    let Opened { action, .. } = connector.open(&open_payment(PaymentProduct::App)).await.unwrap();
    let ClientAction::AppInvocation { parameters } = action else { panic!("{action:?}") };
    assert!(parameters.contains("app_cert_sn=df26fdb01f30f2c8c6a12f441341d34d&"), "{parameters}");
}

#[test]
fn a_chain_is_followed_over_all_three_files() {
    Files::new().open().unwrap();
    // The issuer may stand in any of them.
    let mut files = Files::new();
    files.alipay = named("Alipay").signed_by(&alipay_key(), &files.issuer).unwrap().pem();
    files.app += &files.class;
    files.open().unwrap();
    // The app's certificate comes without its issuer's, which Alipay does not hand out.
    let mut files = Files::new();
    let elsewhere = Issuer::new(authority("Class 1"), key(&vectors::keys()["wechat"]["platform_cert_2"]));
    files.app = named("App").signed_by(&app_key(), &elsewhere).unwrap().pem();
    files.open().unwrap();
    // While Alipay changes over, two of its certificates are believed.
    let mut files = Files::new();
    files.alipay += &named("Alipay")
        .signed_by(&key(&vectors::keys()["wechat"]["wechatpay_public_key"]), &files.issuer)
        .unwrap()
        .pem();
    let (verifier, _) = {
        let signer = Signer::new(&vectors::config("").private_key).unwrap();
        let mode = Mode::Certificates { app: files.app, alipay: files.alipay, root: files.root };
        Verifier::new(&mode, &signer, now()).unwrap()
    };
    let node = "{\"code\":\"10000\"}";
    for of in [&vectors::keys()["alipay"]["alipay"], &vectors::keys()["wechat"]["wechatpay_public_key"]] {
        let sign = Signer::new(&text(&of["private_pkcs8_pem"]).into()).unwrap().sign_text(node).unwrap();
        assert!(verifier.node(node, &sign, None).is_ok());
    }
    let authoritys = Signer::new(&text(&vectors::keys()["wechat"]["platform_cert_1"]["private_pkcs8_pem"]).into());
    let sign = authoritys.unwrap().sign_text(node).unwrap();
    assert!(verifier.node(node, &sign, None).is_err(), "an authority's key signs no answers");
}

#[test]
fn certificates_that_prove_nothing_are_refused() {
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = named("X");
        change(&mut params);
        params
    };
    let expired = || with(|params| params.not_after = date_time_ymd(2025, 12, 31));
    let early = || with(|params| params.not_before = date_time_ymd(2026, 1, 2));
    let class = Files::new().class;
    let cases = [
        (Files::new().app_is(expired()), "ran out on 2025-12-31"),
        (Files::new().app_is(early()), "is not valid before 2026-01-02"),
        (Files::new().alipay_is(expired(), &class), "ran out on 2025-12-31"),
        (Files::new().alipay_is(early(), &class), "is not valid before 2026-01-02"),
        (Files::new().alipay_is(named("X"), ""), "does not lead to a root: that of its issuer"),
        (Files::new().alipay_is(authority("X"), &class), "is not there: only those of authorities are"),
    ];
    for (error, sentence) in cases {
        assert!(error.contains(sentence), "{error}");
    }

    let refused = |change: &dyn Fn(&mut Files), field, sentence: &str| {
        let mut files = Files::new();
        change(&mut files);
        let error = files.open().unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(error.to_string().contains(sentence), "{error}");
    };
    let wechat = &vectors::keys()["wechat"];
    let other = || key(&wechat["platform_cert_2"]);
    let keys = &vectors::keys()["alipay"];
    let (private, public) = (text(&keys["app"]["private_pkcs8_pem"]), text(&keys["alipay"]["public_spki_pem"]));
    // The same names under other keys, an authority that is none, a root that is not ours.
    refused(&|f| f.root = authority("Root").self_signed(&other()).unwrap().pem(), "app_cert", "was not signed by");
    let forged = || Issuer::new(authority("Class 2"), other());
    refused(
        &|f| f.alipay = named("X").signed_by(&alipay_key(), &forged()).unwrap().pem() + &f.class,
        "alipay_cert",
        "was not signed by C=CN, O=Test, CN=Class 2",
    );
    refused(&|f| f.app = named("X").signed_by(&app_key(), &forged()).unwrap().pem(), "app_cert", "was not signed by");
    let own = named("Alipay").self_signed(&alipay_key()).unwrap().pem();
    refused(&|f| f.alipay = own.clone(), "alipay_cert", "which is none of the roots");
    let through_app = Issuer::new(named("App"), app_key());
    refused(
        &|f| f.alipay = named("X").signed_by(&alipay_key(), &through_app).unwrap().pem() + &f.class,
        "alipay_cert",
        "was not signed by C=CN, O=Test, CN=App",
    );
    // Files in each other's place.
    refused(&|f| std::mem::swap(&mut f.app, &mut f.alipay), "app_cert", "does not belong to the app's private key");
    refused(&|f| f.alipay = f.app.clone() + &f.class, "alipay_cert", "is the app's own");
    refused(&|f| f.app = private.to_owned(), "app_cert", "is a private key");
    refused(&|f| f.alipay = public.to_owned(), "alipay_cert", "belongs to public-key mode");
    refused(&|f| f.root = String::new(), "root_cert", "is not a certificate in PEM");
    refused(&|f| f.root = f.root.replacen("MII", "MIJ", 1), "root_cert", "is damaged");
    let ec = KeyPair::generate().unwrap();
    refused(&|f| f.root = authority("Root").self_signed(&ec).unwrap().pem(), "root_cert", "none has an RSA signature");
    refused(
        &|f| f.alipay = named("X").signed_by(&ec, &f.issuer).unwrap().pem() + &f.class,
        "alipay_cert",
        "has a key that is damaged or not an RSA key",
    );
}
