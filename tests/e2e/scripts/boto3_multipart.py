"""boto3 as applications use it: threaded multipart up and down, metadata, presigned URLs, conditional reads.

Never: passes without comparing bytes. Arguments: the size of the large object in MiB.
"""

import hashlib
import os
import sys
import tempfile
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1 << 20
BUCKET = "boto3"


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(condition, what):
    if not condition:
        raise SystemExit(f"boto3: {what}")


def threaded_multipart(s3, folder, size_mib):
    source, back = os.path.join(folder, "source"), os.path.join(folder, "back")
    with open(source, "wb") as file:
        for _ in range(size_mib):
            file.write(os.urandom(MIB))
        file.write(b"odd tail")
    transfer = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=8, use_threads=True)
    s3.upload_file(source, BUCKET, "large/threaded.bin", ExtraArgs={"Metadata": {"Stone": "cairn"}, "ContentType": "x/y"}, Config=transfer)
    head = s3.head_object(Bucket=BUCKET, Key="large/threaded.bin")
    check(head["ContentLength"] == os.path.getsize(source), f"length {head['ContentLength']}")
    check(head["Metadata"] == {"stone": "cairn"}, f"metadata {head['Metadata']}")
    check(head["ContentType"] == "x/y", f"content type {head['ContentType']}")
    parts = size_mib // 8 + 1
    check(head["ETag"].strip('"').endswith(f"-{parts}"), f"etag {head['ETag']} for {parts} parts")
    s3.download_file(BUCKET, "large/threaded.bin", back, Config=transfer)
    check(digest(source) == digest(back), "the large object came back different")


def small_objects(s3):
    body = os.urandom(100_001)
    put = s3.put_object(Bucket=BUCKET, Key="small", Body=body, ChecksumAlgorithm="SHA256")
    check(put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"', f"etag {put['ETag']}")
    got = s3.get_object(Bucket=BUCKET, Key="small", ChecksumMode="ENABLED")
    check(got["Body"].read() == body, "the small object came back different")
    part = s3.get_object(Bucket=BUCKET, Key="small", Range="bytes=65000-70000")["Body"].read()
    check(part == body[65000:70001], "the range came back different")
    try:
        s3.get_object(Bucket=BUCKET, Key="small", IfNoneMatch=put["ETag"])
        check(False, "If-None-Match was ignored")
    except ClientError as error:
        check(error.response["ResponseMetadata"]["HTTPStatusCode"] == 304, f"If-None-Match: {error}")
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "small"})
    check(s3.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == body, "the copy came back different")


def presigned(s3):
    body = os.urandom(50_000)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "presigned"}, ExpiresIn=60)
    request = urllib.request.Request(url, data=body, method="PUT")
    check(urllib.request.urlopen(request).status == 200, "presigned PUT")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "presigned"}, ExpiresIn=60)
    check(urllib.request.urlopen(url).read() == body, "presigned GET came back different")


def listing_and_deleting(s3):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 2})
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    check(keys == ["copy", "large/threaded.bin", "presigned", "small"], f"listing {keys}")
    folded = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")
    check([p["Prefix"] for p in folded["CommonPrefixes"]] == ["large/"], f"prefixes {folded['CommonPrefixes']}")
    gone = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in keys]})
    check(len(gone["Deleted"]) == len(keys) and not gone.get("Errors"), f"batch delete {gone}")
    s3.delete_bucket(Bucket=BUCKET)


def main():
    s3 = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}))
    s3.create_bucket(Bucket=BUCKET)
    with tempfile.TemporaryDirectory() as folder:
        threaded_multipart(s3, folder, int(sys.argv[1]))
    small_objects(s3)
    presigned(s3)
    listing_and_deleting(s3)


main()
