// WeChat Pay's platform certificates, downloaded and used by wechatpay-axios-plugin, as a merchant that has no
// public key of WeChat Pay's yet.
import { X509Certificate } from 'node:crypto';

import plugin from 'wechatpay-axios-plugin';

import { number, stranger, url, wechatPay as merchant } from './sandbox.mjs';
import { refused, same, section, so } from './verdicts.mjs';
import { client, find, order } from './wechat-pay.mjs';

const { Aes, Formatter, Rsa } = plugin;

export async function judge() {
  await section('WeChat Pay: platform certificates', async () => {
    // In the middle of a rotation: two are listed, the first one signs.
    const mode = await fetch(`${url}/__sandbox/key_mode`, { method: 'POST', body: '{"mode":"second_announced"}' });
    same('the sandbox has certificates on demand', 204, mode.status);
    // The first download has nothing to verify with: the certificate inside verifies it afterwards.
    const { data: body, headers } = await client({ headers: {} }).certificates.get({ transformResponse: [(raw) => raw] });
    const certificates = JSON.parse(body).data.map(({ serial_no, encrypt_certificate: { ciphertext, nonce, associated_data } }) => {
      const pem = Aes.AesGcm.decrypt(ciphertext, merchant.api_v3_key, nonce, associated_data);
      return { serial_no, pem, x509: new X509Certificate(pem) };
    });
    same('both are there, and decrypt', 2, certificates.length);
    so('each bears the serial that it is listed under', certificates.every(({ serial_no, x509 }) => x509.serialNumber === serial_no.toUpperCase()));
    const now = new Date();
    so('each is valid now', certificates.every(({ x509 }) => new Date(x509.validFrom) <= now && now < new Date(x509.validTo)));
    const signer = certificates.find(({ serial_no }) => serial_no === headers['wechatpay-serial']);
    const signed = Formatter.response(headers['wechatpay-timestamp'], headers['wechatpay-nonce'], body);
    so('the answer is signed by one of them', signer && Rsa.verify(signed, headers['wechatpay-signature'], signer.x509.publicKey), headers);

    const { serial_no, x509 } = signer;
    const inCertificateMode = (publicKey) =>
      client({ certs: { [serial_no]: publicKey }, headers: { 'Wechatpay-Serial': serial_no } });
    const key = (certificate) => certificate.publicKey.export({ type: 'spki', format: 'pem' });
    const v3 = inCertificateMode(key(x509));
    const mug = number('mug');
    await v3.pay.transactions.native.post(order(mug, 100, 'https://shop.example/notify'));
    same('a merchant that has only the certificate verifies the answers', 'NOTPAY', (await find(v3, mug)).trade_state);
    await refused('another key under its serial does not', /EV3_RES_HEADER_SIGNATURE_DIGEST/, () =>
      find(inCertificateMode(stranger.publicKey), mug));
  });
}
