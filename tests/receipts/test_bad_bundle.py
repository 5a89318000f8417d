"""Bundles made to mislead or to flood their reader: refused or ignored, with the reason."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from autonomics.receipts import verify
from autonomics.receipts.export import export_lines

from .evidence import (
    OWNER,
    TODAY,
    WITNESSES,
    Bundle,
    Key,
    build,
    bundle_of,
    checkpoint_of,
    cosign,
    policy_of,
    trust,
    witness_name,
)

BUNDLE = bundle_of(build(5))
Member = tuple[str, bytes]


def zip_of(members: Sequence[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def tar_of(members: Sequence[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def files(bundle: Bundle = BUNDLE) -> list[Member]:
    return list(bundle.items())


def write(folder: Path, bundle: Bundle) -> Path:
    for name, data in bundle.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def judge(path: Path, given: verify.Trust | None = None) -> verify.Verdict:
    (verdict,) = verify.verify_path(path, trust() if given is None else given)
    return verdict


@pytest.fixture
def judge_bytes(tmp_path: Path) -> Callable[[bytes], verify.Verdict]:
    def check(data: bytes) -> verify.Verdict:
        path = tmp_path / "packed"
        path.write_bytes(data)
        return judge(path)

    return check


Judge = Callable[[bytes], verify.Verdict]
PACKERS: dict[str, Callable[[Sequence[Member]], bytes]] = {"zip": zip_of, "tar": tar_of}


@pytest.mark.parametrize("form", PACKERS)
def test_a_packed_bundle_is_read_where_it_lies(form: str, judge_bytes: Judge) -> None:
    pack = PACKERS[form]
    assert judge_bytes(pack(files())).code == 10
    assert judge_bytes(pack([("./" + name, data) for name, data in files()])).code == 10
    as_folder = [("acme/" + name, data) for name, data in files()]
    assert judge_bytes(pack(as_folder)).code == 10
    two = judge_bytes(pack([*as_folder, *(("b/" + name, data) for name, data in files())]))
    assert (two.code, two.reason) == (40, "checkpoint is missing")
    changed = {**BUNDLE, "checkpoint": checkpoint_of(build(5), Key(9))}
    assert judge_bytes(pack(files(changed))).code == 40
    assert judge_bytes(pack([])).code == 40


def test_folders_in_an_archive_are_no_files(judge_bytes: Judge) -> None:
    folder = tarfile.TarInfo("tile")
    folder.type = tarfile.DIRTYPE
    dot = tarfile.TarInfo("./")
    dot.type = tarfile.DIRTYPE
    assert judge_bytes(tar_of([(dot, b""), (folder, b""), *files()])).code == 10
    assert judge_bytes(zip_of([("tile/", b""), *files()])).code == 10


@pytest.mark.parametrize("form", PACKERS)
@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/passwd",
        "tile/../../x",
        "tile//x",
        "tile/./x",
        "C:x",
        "tile\\x",
        "a\nb",
        "..",
    ],
)
def test_a_name_that_leads_out_is_refused(form: str, name: str, judge_bytes: Judge) -> None:
    verdict = judge_bytes(PACKERS[form]([*files(), (name, b"x")]))
    assert verdict.code == 40
    assert "is no name of a file in a bundle" in verdict.reason


@pytest.mark.parametrize("form", PACKERS)
@pytest.mark.parametrize("name", ["checkpoint", "CheckPoint", "./checkpoint", "checkpoint/"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(form: str, name: str, judge_bytes: Judge) -> None:
    verdict = judge_bytes(PACKERS[form]([*files(), (name, b"x")]))
    assert verdict.code == 40
    assert "stands twice" in verdict.reason


def test_two_spellings_of_one_letter_are_one_name(judge_bytes: Judge) -> None:
    names = ("\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}")
    verdict = judge_bytes(zip_of([*files(), *((name, b"") for name in names)]))
    assert "stands twice" in verdict.reason


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_a_link_or_device_in_a_tar_is_refused(kind: bytes, judge_bytes: Judge) -> None:
    info = tarfile.TarInfo("extra")
    info.type, info.linkname = kind, "checkpoint"
    verdict = judge_bytes(tar_of([*files(), (info, b"")]))
    assert (verdict.code, verdict.reason) == (40, "'extra' is a link or no plain file")


def test_a_link_or_an_encrypted_member_of_a_zip_is_refused(judge_bytes: Judge) -> None:
    link = zipfile.ZipInfo("extra")
    link.external_attr = 0o120777 << 16
    bzip = zipfile.ZipInfo("extra")
    bzip.compress_type = zipfile.ZIP_BZIP2
    plain = zipfile.ZipInfo("extra")
    plain.external_attr = 0o100644 << 16
    for info, code in ((link, 40), (bzip, 40), (plain, 10)):
        verdict = judge_bytes(zip_of([*files(), (info, b"checkpoint")]))
        assert verdict.code == code, verdict
    data = bytearray(zip_of([*files(), ("extra", b"x")]))
    data[data.rindex(b"PK\1\2") + 8] |= 1  # "encrypted", in the last entry of the directory
    assert "encrypted" in judge_bytes(bytes(data)).reason


def test_a_bomb_is_not_unpacked(judge_bytes: Judge) -> None:
    zeros = bytes((1 << 25) + 2)
    for name, reason in (
        ("checkpoint", "checkpoint has more than 1048576 bytes"),
        ("tile/0/000.p/5", "tile/0/000.p/5 has more than 8192 bytes"),
        ("tile/entries/000.p/5", "tile/entries/000.p/5 has more than 2097664 bytes"),
        ("payloads.jsonl", "a line has more than 33554432 bytes"),
    ):
        packed = zip_of(files({**BUNDLE, name: zeros}))
        assert len(packed) < 1 << 20
        verdict = judge_bytes(packed)
        assert (verdict.code, verdict.reason) == (40, reason)
    # What the verifier has no use for, it does not even open.
    assert judge_bytes(zip_of([*files(), ("bomb", zeros)])).code == 10


def test_a_line_without_an_end_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    path.write_bytes(b"{" + b" " * (verify.MAX_LINE_BYTES + 1))
    verdict = judge(path)
    assert (verdict.code, verdict.seq) == (40, 0)
    assert "a line has more than" in verdict.reason


@pytest.mark.parametrize("form", PACKERS)
def test_an_archive_that_broke_off_or_rotted_is_invalid(form: str, judge_bytes: Judge) -> None:
    whole = PACKERS[form]([member for member in files() if member[0] != "verify.py"])
    for keep in range(300, len(whole.rstrip(b"\0")), 397):
        assert judge_bytes(whole[:keep]).code == 40, keep
    for at in range(0, len(whole), 61):
        rotten = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
        # A byte may stand where nothing is said (a mode, a time, a file that is not read).
        assert judge_bytes(rotten).code in (10, 40), at


def test_a_folder_is_read_by_names_of_the_verifiers_own(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle", BUNDLE)
    assert judge(folder).code == 10
    (folder / "extra").symlink_to("/etc/passwd")
    assert judge(folder).code == 10
    tile = folder / "tile/0/000.p"
    tile.rename(tmp_path / "elsewhere")
    tile.symlink_to(tmp_path / "elsewhere")
    assert "is a link" in judge(folder).reason
    tile.unlink()
    assert judge(folder).reason == "tile/0/000.p/5 is missing"
    tile.write_bytes(b"a file where a folder belongs")
    assert judge(folder).reason == "tile/0/000.p/5 is missing"


def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle", BUNDLE)
    (folder / "payloads.jsonl").unlink()
    os.mkfifo(folder / "payloads.jsonl")
    verdict = judge(folder)
    assert (verdict.code, verdict.reason) == (40, "payloads.jsonl is no plain file")


def test_a_file_that_is_too_long_for_its_place_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle", BUNDLE)
    with (folder / "checkpoint").open("r+b") as file:
        file.truncate(1 << 33)
    assert judge(folder).reason == "checkpoint has more than 1048576 bytes"


def with_strangers(count: int) -> bytes:
    signed = checkpoint_of(build(5))
    text = verify.parse_note(signed).text
    stranger = Key(77, verify.COSIGNATURE)
    return signed + "".join(stranger.line(text, f"s{n}.example", 1) for n in range(count)).encode()


@pytest.mark.parametrize(("others", "code"), [(0, 10), (15, 10), (63, 10), (64, 40)])
def test_64_signatures_are_read_and_65_are_not(others: int, code: int, tmp_path: Path) -> None:
    folder = write(tmp_path, {**BUNDLE, "checkpoint": with_strangers(others)})
    verdict = judge(folder)
    assert verdict.code == code
    assert ("more than 64 signatures" in verdict.reason) == (code == 40)


def test_trust_that_travels_with_the_evidence_is_ignored(tmp_path: Path) -> None:
    signed = checkpoint_of(build(5))
    bundle = {
        **bundle_of(build(5), cosign(signed, *WITNESSES)),
        "policy": policy_of(),
        "trust-policy": policy_of(),
        "vkey": OWNER.vkey().encode(),
        "known-checkpoint": signed,
        "keys/acme": OWNER.vkey().encode(),
        "MANIFEST.json": b'{"policy":"policy","size":99,"verdict":"witnessed"}',
    }
    folder = write(tmp_path, bundle)
    assert judge(folder, verify.Trust()).code == 20
    assert judge(folder).code == 10
    assert judge(folder, trust(policy=policy_of())).code == 0
    # The thief's own witnesses in the bundle say nothing to whoever names others.
    thieves = b"\n".join(
        [
            f"witness {n} {Key(90 + i, 4).vkey(witness_name(n))}".encode()
            for i, n in enumerate(WITNESSES)
        ]
        + [b"group g 2 w1 w2 w3", b"quorum g", b""]
    )
    assert judge(folder, trust(policy=thieves, now=TODAY)).code == 10


def test_a_manifest_that_lies_or_is_not_there_changes_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path, BUNDLE)
    truth = judge(folder)
    for content in (b"", b"{", b'{"size":9,"log":"x"}', bytes(100_000)):
        (folder / "MANIFEST.json").write_bytes(content)
        assert judge(folder) == truth
    (folder / "MANIFEST.json").unlink()
    assert judge(folder) == truth
    (folder / "verify.py").write_text("raise SystemExit(0)")
    assert judge(folder) == truth


def test_receipts_are_read_from_a_pipe_as_they_come() -> None:
    receiver, sender = os.pipe()
    with os.fdopen(receiver, "rb"), os.fdopen(sender, "wb") as end:
        end.write(b"".join(export_lines(build(3))))
        end.close()
        assert judge(Path(f"/dev/fd/{receiver}"), verify.Trust()).size == 3


def test_an_empty_file_is_no_evidence(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert judge(tmp_path / "empty.jsonl", verify.Trust()).code == 40
