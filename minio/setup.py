#!/usr/bin/env python3
"""Creates a bucket and a user who may use it on a MinIO that is starting, by plain requests.

  setup.py ENDPOINT BUCKET [PID]     keys from MINIO_ROOT_USER, MINIO_ROOT_PASSWORD (the administrator's) and
                                     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (the user's); ends early when PID ends

Doing it again changes nothing. Admin requests carry their secrets encrypted under the administrator's (salt, one byte of
kind, nonce, AES-256-GCM stream): that is done here with the libcrypto of the system, so that nothing needs installing.
"""
import ctypes, ctypes.util, datetime, hashlib, hmac, http.client, json, os, sys, time, urllib.parse


def sign(key, secret, method, host, path, query, body, region="us-east-1"):
    date = datetime.datetime.utcnow().strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": date}
    names = ";".join(sorted(headers))
    canonical = "\n".join([method, path, query, *(f"{k}:{headers[k]}" for k in sorted(headers)), "", names, digest])
    scope = f"{date[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    k = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        k = hmac.new(k, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(k, text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers


def request(method, path, query=None, body=b""):
    """One request as the administrator; for half a minute again while the server says that it is not ready yet."""
    end = time.monotonic() + 30
    while True:
        status, answer = request_once(method, path, query, body)
        if status != 503 or time.monotonic() > end:
            return status, answer
        time.sleep(0.1)


def request_once(method, path, query, body):
    url = urllib.parse.urlparse(sys.argv[1])
    text = "&".join(f"{k}={urllib.parse.quote(v, safe='')}" for k, v in sorted((query or {}).items()))
    headers = sign(os.environ["MINIO_ROOT_USER"], os.environ["MINIO_ROOT_PASSWORD"], method, url.netloc, path, text, body)
    c = http.client.HTTPConnection(url.netloc, timeout=10)
    try:
        c.request(method, path + ("?" + text if text else ""), body, dict(headers, **{"Content-Type": "application/octet-stream"}))
        r = c.getresponse()
        return r.status, r.read()
    finally:
        c.close()


def aes_gcm(key, nonce, data, extra):
    """AES-256-GCM by libcrypto: the ciphertext and its tag."""
    c = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")
    c.EVP_CIPHER_CTX_new.restype = c.EVP_aes_256_gcm.restype = ctypes.c_void_p
    ctx = ctypes.c_void_p(c.EVP_CIPHER_CTX_new())
    out, tag, n = ctypes.create_string_buffer(len(data) + 16), ctypes.create_string_buffer(16), ctypes.c_int()
    ok = c.EVP_EncryptInit_ex(ctx, ctypes.c_void_p(c.EVP_aes_256_gcm()), None, key, nonce)
    if extra:
        ok &= c.EVP_EncryptUpdate(ctx, None, ctypes.byref(n), extra, len(extra))
    got = 0
    if data:
        ok &= c.EVP_EncryptUpdate(ctx, out, ctypes.byref(n), data, len(data))
        got = n.value
    ok &= c.EVP_EncryptFinal_ex(ctx, ctypes.byref(out, got), ctypes.byref(n))
    ok &= c.EVP_CIPHER_CTX_ctrl(ctx, 0x10, 16, tag)  # EVP_CTRL_GCM_GET_TAG
    c.EVP_CIPHER_CTX_free(ctx)
    if ok != 1:
        raise RuntimeError("libcrypto refuses AES-256-GCM")
    return out.raw[:got] + tag.raw


def sealed(value):
    """Data for the admin API, under the administrator's secret (PBKDF2, one chunk of the stream format)."""
    data = json.dumps(value).encode()
    salt, nonce = os.urandom(32), os.urandom(8)
    key = hashlib.pbkdf2_hmac("sha256", os.environ["MINIO_ROOT_PASSWORD"].encode(), salt, 8192, 32)
    first = aes_gcm(key, nonce + (0).to_bytes(4, "little"), b"", b"")
    return salt + b"\x02" + nonce + aes_gcm(key, nonce + (1).to_bytes(4, "little"), data, b"\x80" + first)


def expect(what, answer, good):
    status, body = answer
    if status not in good:
        raise RuntimeError(f"{what}: HTTP {status} {body[:300].decode(errors='replace')}")


def wait_ready():
    end = time.monotonic() + 30
    while True:
        try:
            status, _ = request_once("GET", "/minio/health/ready", None, b"")
            if status == 200:
                return
        except OSError:
            pass
        if len(sys.argv) > 3 and not os.path.exists(f"/proc/{sys.argv[3]}"):
            raise RuntimeError("MinIO has ended")
        if time.monotonic() > end:
            raise RuntimeError("MinIO did not get ready within 30 s")
        time.sleep(0.05)


def main():
    bucket, user = sys.argv[2], os.environ["AWS_ACCESS_KEY_ID"]
    wait_ready()
    status, body = request("PUT", "/" + bucket)
    if b"BucketAlreadyOwnedByYou" not in body:
        expect("bucket " + bucket, (status, body), (200,))
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": [f"arn:aws:s3:::{bucket}"]},
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
         "Resource": [f"arn:aws:s3:::{bucket}/*"]}]}
    name, admin = f"floe-{bucket}", "/minio/admin/v3"
    expect("policy", request("PUT", admin + "/add-canned-policy", {"name": name}, json.dumps(policy).encode()), (200,))
    expect("user", request("PUT", admin + "/add-user", {"accessKey": user}, sealed(
        {"secretKey": os.environ["AWS_SECRET_ACCESS_KEY"], "status": "enabled"})), (200,))
    # MinIO knows what was just made only a moment later.
    end = time.monotonic() + 10
    while True:
        status, body = request("POST", admin + "/idp/builtin/policy/attach", {}, sealed({"policies": [name], "user": user}))
        if status != 404 or time.monotonic() > end:
            break
        time.sleep(0.1)
    if b"PolicyChangeAlreadyApplied" not in body:
        expect("policy of the user", (status, body), (200,))


try:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main()
except (RuntimeError, OSError, KeyError) as e:
    sys.exit(f"minio/setup.py: {e}")
