"""A certificate chain for tests of content credentials, made anew: nobody trusts it."""

from __future__ import annotations

import datetime


def certificate_chain() -> tuple[bytes, bytes]:
    """Leaf and root as PEM, and the leaf's private key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("Test Root", "Test Signer")}
    names = {
        name: x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name), x509.NameAttribute(NameOID.COMMON_NAME, name)]
        )
        for name in keys
    }
    root = keys["Test Root"]
    made = []
    for name in ("Test Signer", "Test Root"):
        leads = name == "Test Root"
        use = x509.KeyUsage(
            digital_signature=not leads, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=leads, crl_sign=leads, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        public = keys[name].public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["Test Root"])
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=leads, path_length=None), critical=True)
            .add_extension(use, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        )
        if not leads:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(usage, critical=False)
        made.append(builder.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    key = keys["Test Signer"].private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return b"".join(made), key
