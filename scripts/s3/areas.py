"""Which area of S3 a test of ceph/s3-tests is about, and whether it describes S3 as AWS has it or an extension of Ceph."""

import re

# The first that fits. The number is what the best single peer passes of the area (SeaweedFS 4.48, Garage 2.5.0, JuiceFS 1.4.2).
AREAS = [
    ("SSE-KMS", 8, r"kms"),
    ("SSE copy matrix", 8, r"copy_enc|copy_part_enc"),
    ("SSE-C", 17, r"sse_c|encrypted_transfer|encryption_key"),
    ("SSE-S3", 2, r"sse_s3|bucket_encryption|put_obj_enc_conflict"),
    ("POST form", 24, r"post_object"),
    ("object lock", 39, r"object_lock"),
    ("public access block", 0, r"public_block|block_public|ignore_public|publicpolicy|public_acls|policy_status|policy_acl_bucket|authpublic_acl"),
    ("ownership controls", 0, r"ownership|owner_enforced|owner_preferred|object_writer"),
    ("policy", 8, r"policy"),
    ("CORS", 1, r"cors"),
    ("lifecycle", 10, r"lifecycle|delete_marker_expiration"),
    ("tagging", 15, r"tag|tags"),
    ("versioning", 25, r"version|delete_marker"),
    ("object attributes", 5, r"object_attributes"),
    ("checksum", 3, r"checksum|cksum"),
    ("conditional write", 3, r"put_object_if|put_current|delete_object_if|delete_objects_if|dual_conditional|atomic_conditional|conditional_write|put_object_ifmatch|put_object_ifnonmatch|complete_multipart_if"),
    ("conditional read", 12, r"get_object_if|copy_object_if|head_object_if"),
    ("atomic read and write", 9, r"atomic"),
    ("range read", 6, r"range"),
    ("multipart", 22, r"multipart|upload_part|get_part"),
    ("copy", 12, r"copy"),
    ("ACL", 11, r"acl|access_bucket|grant"),
    ("presigned", 3, r"presign|raw_get_x_amz|raw_put"),
    ("anonymous", 9, r"anon|raw"),
    ("headers", 17, r"^test_(object|bucket)_create_(bad|date|amz)|_before_|100_continue"),
    ("listing v2", 37, r"listv2|list_objects_v2|bucketv2"),
    ("listing v1", 39, r"bucket_list|list_objects|basic_key"),
    ("buckets", 18, r"bucket"),
    ("objects", 18, r"."),
]
CORE = {
    "buckets", "objects", "listing v1", "listing v2", "multipart", "copy", "range read", "atomic read and write", "conditional read",
    "conditional write", "checksum", "object attributes", "headers", "presigned",
}
CEPH_MARKS = {"fails_on_aws", "auth_aws2", "bucket_logging", "bucket_logging_cleanup", "cloud_transition", "cloud_restore", "iam_account", "iam_user"}
CEPH_NAMES = re.compile(r"tenant|usage|unordered|_v2$")


def area(test):
    """Area of a test by its name."""
    name = test.split("[")[0]
    return next(area for area, _, pattern in AREAS if re.search(pattern, name))


def is_aws(test, marks):
    """Whether a test describes S3 as AWS has it."""
    return not (CEPH_MARKS & set(marks)) and not CEPH_NAMES.search(test.split("[")[0])


def best_peer(area):
    """What the best single peer passes of an area."""
    return next(best for name, best, _ in AREAS if name == area)
