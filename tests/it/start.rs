//! The binary as an operator meets it: what is wrong is one line, and the exit status tells.

use std::net::TcpListener;
use std::process::{Command, Output};

fn payonce(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    command.args(arguments).env_clear().env("PATH", std::env::var("PATH").unwrap());
    let elsewhere = std::env::temp_dir();
    command.current_dir(&elsewhere).env("PAYONCE_SANDBOX_LISTEN", "127.0.0.1:0").env("PAYONCE_SANDBOX_HOME", "off");
    command.env("PAYONCE_LISTEN", "127.0.0.1:0").env("PAYONCE_DATABASE_URL", "sqlite::memory:");
    for (name, value) in environment {
        command.env(name, value);
    }
    command.output().unwrap()
}

/// One line on stderr that names the variable, and a failure.
fn fails_naming(variable: &str, arguments: &[&str], environment: &[(&str, &str)]) {
    let last = last_line_of_failure(arguments, environment);
    assert!(last.contains(variable), "{last}");
}

fn last_line_of_failure(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = payonce(arguments, environment);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn what_stops_the_start_names_its_variable() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let sqlite = format!("sqlite://{}/payonce_start.db?mode=rwc", std::env::temp_dir().display());
    fails_naming("PAYONCE_LISTEN", &["serve"], &[("PAYONCE_LISTEN", &taken), ("PAYONCE_DATABASE_URL", &sqlite)]);
    fails_naming("PAYONCE_LISTEN", &["serve"], &[("PAYONCE_LISTEN", "here")]);
    fails_naming("PAYONCE_DATABASE_URL", &["serve"], &[("PAYONCE_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")]);
    fails_naming("PAYONCE_DATABASE_URL", &["serve"], &[("PAYONCE_DATABASE_URL", "sqlite:///nowhere/at/all.db")]);
    fails_naming("PAYONCE_ORDER_TTL", &["serve"], &[("PAYONCE_ORDER_TTL", "soon")]);
    fails_naming(
        "PAYONCE_NUMBER_KEY",
        &["doctor"],
        &[("PAYONCE_PROFILE", "production"), ("PAYONCE_JWT_HS256_SECRET", "0123456789abcdef0123456789abcdef")],
    );
    fails_naming("PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE", &["serve"], &[("PAYONCE_WECHAT_PAY_MCHID", "1900000001")]);
}

#[test]
fn wrong_keys_of_alipay_are_named_with_their_file_by_serve_and_doctor() {
    let folder = std::env::temp_dir().join(format!("payonce_alipay_keys_{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../vectors/keys.json")).unwrap();
    let keys = &vectors["alipay"];
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let put = |name: &str, text: &str| std::fs::write(path(name), text).map(|()| path(name)).unwrap();
    let vector = |name: &str, at: &str| put(name, keys.pointer(at).unwrap().as_str().unwrap());
    let database = format!("sqlite://{}?mode=rwc", path("p.db"));
    let private = vector("app.pem", "/app/private_pkcs8_pem");
    let app_public = vector("app_public.pem", "/app/public_spki_pem");
    let app = vector("app.crt", "/cert_mode/app_cert_pem");
    let alipay = vector("alipay.crt", "/cert_mode/alipay_public_cert_pem");
    let root = vector("root.crt", "/cert_mode/alipay_root_certs_pem");
    let key = rcgen::KeyPair::from_pem(keys["app"]["private_pkcs8_pem"].as_str().unwrap()).unwrap();
    let mut expired = rcgen::CertificateParams::default();
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let expired = put("expired.crt", &expired.self_signed(&key).unwrap().pem());

    let (private_key, public_key) = ("PAYONCE_ALIPAY_PRIVATE_KEY_FILE", "PAYONCE_ALIPAY_ALIPAY_PUBLIC_KEY_FILE");
    let (app_cert, alipay_cert, root_cert) =
        ("PAYONCE_ALIPAY_APP_CERT_FILE", "PAYONCE_ALIPAY_ALIPAY_CERT_FILE", "PAYONCE_ALIPAY_ROOT_CERT_FILE");
    let cases = [
        (public_key, vec![(private_key, &private), (public_key, &app_public)], "is the app's own public key"),
        (private_key, vec![(private_key, &app_public), (public_key, &app_public)], "private key"),
        (
            app_cert,
            vec![(private_key, &private), (app_cert, &expired), (alipay_cert, &alipay), (root_cert, &root)],
            "ran out on 2021-01-01",
        ),
        (
            alipay_cert,
            vec![(private_key, &private), (app_cert, &app), (alipay_cert, &app), (root_cert, &root)],
            "is the app's own",
        ),
        (
            root_cert,
            vec![(private_key, &private), (app_cert, &app), (alipay_cert, &alipay), (root_cert, &private)],
            "is a private key",
        ),
    ];
    for (variable, files, why) in cases {
        let file = files.iter().find(|(name, _)| *name == variable).unwrap().1;
        let mut environment = vec![
            ("PAYONCE_ALIPAY_APP_ID", "2021000000000001"),
            ("PAYONCE_ALIPAY_SELLER_ID", "2088000000000001"),
            ("PAYONCE_DATABASE_URL", &database),
        ];
        environment.extend(files.iter().map(|(name, path)| (*name, path.as_str())));
        for command in ["serve", "doctor"] {
            let output = payonce(&[command], &environment);
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            let line = said.lines().find(|line| line.contains(variable)).unwrap_or_else(|| panic!("{command}: {said}"));
            assert!(!output.status.success() && line.contains(file.as_str()) && line.contains(why), "{line}");
            assert!(!said.contains("MII"), "no key is shown: {said}");
        }
    }
    std::fs::remove_dir_all(&folder).ok();
}

#[test]
fn a_wrong_key_file_is_named_with_what_is_wrong_with_it() {
    let folder = std::env::temp_dir().join(format!("payonce_key_files_{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let keys: serde_json::Value = serde_json::from_str(include_str!("../vectors/keys.json")).unwrap();
    let keys = &keys["wechat"];
    let file = |name: &str, text: &serde_json::Value| {
        let path = folder.join(name);
        std::fs::write(&path, text.as_str().unwrap()).unwrap();
        path.display().to_string()
    };
    let private = file("private.pem", &keys["merchant"]["private_pkcs8_pem"]);
    let public = file("public.pem", &keys["wechatpay_public_key"]["public_spki_pem"]);
    let certificate = file("certificate.pem", &keys["merchant"]["certificate_pem"]);
    let other = file("other.pem", &keys["platform_cert_1"]["certificate_pem"]);
    let other_key = file("other_key.pem", &keys["platform_cert_1"]["private_pkcs8_pem"]);
    let database = format!("sqlite://{}?mode=rwc", folder.join("p.db").display());
    let serial = keys["merchant"]["serial_no"].as_str().unwrap();
    let good = [
        ("PAYONCE_SANDBOX_LISTEN", "off"),
        ("PAYONCE_DATABASE_URL", database.as_str()),
        ("PAYONCE_WECHAT_PAY_MCHID", "1900000001"),
        ("PAYONCE_WECHAT_PAY_APPID", "wxd678efh567hg6787"),
        ("PAYONCE_WECHAT_PAY_SERIAL_NO", serial),
        ("PAYONCE_WECHAT_PAY_API_V3_KEY", keys["apiv3_key"].as_str().unwrap()),
        ("PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE", &private),
        ("PAYONCE_WECHAT_PAY_CERT_FILE", &certificate),
        ("PAYONCE_WECHAT_PAY_PUBLIC_KEY_ID", keys["wechatpay_public_key"]["public_key_id"].as_str().unwrap()),
        ("PAYONCE_WECHAT_PAY_PUBLIC_KEY_FILE", &public),
    ];
    let other_serial = keys["platform_cert_1"]["serial_no"].as_str().unwrap();
    for (variable, value, reason) in [
        ("PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE", "/nowhere/key.pem", "No such file"),
        ("PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE", &public, "is a public key"),
        ("PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE", &certificate, "is a certificate"),
        ("PAYONCE_WECHAT_PAY_CERT_FILE", &private, "is not a certificate"),
        ("PAYONCE_WECHAT_PAY_CERT_FILE", &other, "has the serial 3775"),
        ("PAYONCE_WECHAT_PAY_PUBLIC_KEY_FILE", &private, "is a private key"),
        ("PAYONCE_WECHAT_PAY_PUBLIC_KEY_FILE", &certificate, "is a certificate"),
    ] {
        let mut environment = good.to_vec();
        environment.push((variable, value));
        let last = last_line_of_failure(&["serve"], &environment);
        assert!(last.contains(&format!("{variable}: {value}: ")) && last.contains(reason), "{last}");
    }
    let mut environment = good.to_vec();
    environment.push(("PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE", &other_key));
    fails_naming("certificate.pem: WeChat Pay: the merchant's certificate does not belong", &["serve"], &environment);
    let mut environment = good.to_vec();
    environment.push(("PAYONCE_WECHAT_PAY_SERIAL_NO", other_serial));
    fails_naming(
        "certificate.pem: WeChat Pay: the merchant's certificate has the serial 5157",
        &["serve"],
        &environment,
    );
    // As it should be, all of it is readable; the doctor says so.
    let output = payonce(&["doctor"], &good);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("the keys of wechat_pay are readable"), "{said}");
    let mut environment = good.to_vec();
    environment.push(("PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE", &public));
    let said = String::from_utf8(payonce(&["doctor"], &environment).stdout).unwrap();
    assert!(said.contains("FAIL") && said.contains("PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_schema_and_tokens_are_printed() {
    let schema = payonce(&["schema"], &[]);
    assert!(schema.status.success());
    assert_eq!(String::from_utf8(schema.stdout).unwrap(), payonce::graphql::sdl());
    let token = payonce(&["token", "--sub", "alice", "--role", "customer", "--ttl", "1h"], &[]);
    assert_eq!(String::from_utf8(token.stdout).unwrap().trim().split('.').count(), 3);
    let wrong = payonce(&["token", "--sub", "alice", "--role", "king"], &[]);
    assert!(!wrong.status.success());
}

#[test]
fn products_come_from_a_file_all_or_none() {
    let folder = std::env::temp_dir().join(format!("payonce_products_{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("sqlite://{}/p.db?mode=rwc", folder.display());
    let database = [("PAYONCE_DATABASE_URL", url.as_str())];
    assert!(payonce(&["migrate"], &database).status.success());
    let file = folder.join("products.csv");
    let file = file.to_str().unwrap();
    std::fs::write(file, "sku,name,price_minor,currency\nCUP,\"A cup, blue\",1500,CNY\nYEN,A yen,1,JPY\n").unwrap();
    let imported = payonce(&["products", "import", file], &database);
    assert_eq!(String::from_utf8(imported.stdout).unwrap().trim(), "2 products are in the catalogue");
    std::fs::write(file, "sku,name,price_minor,currency\nPOT,A pot,100,CNY\nBAD,No price,1.5,CNY\n").unwrap();
    let refused = payonce(&["products", "import", file], &database);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("line 3") && said.contains("price_minor"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}
