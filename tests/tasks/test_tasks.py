"""The task definitions: complete, pinned, consistent with each other and with what the docs print."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from mrb.data import task as tasks
from mrb.data.task import (
    FAMILIES,
    HEADLINE_MEASURE,
    TYPES,
    Task,
    list_suite_tasks,
    list_tasks,
    load_suite,
    load_task,
    locate_task_folder,
    read_task,
)
from mrb.data.task_filter import count_queries, filter_tasks, sum_totals
from mrb.errors import TaskError
from mrb.metrics.measures import HEADLINE

DOCS = Path(__file__).resolve().parents[2] / "docs" / "tasks.md"

# Written down apart from the task files: id -> (first repository, its revision, queries).
EXPECTED = {
    "arguana": ("mteb/arguana", "c22ab2a51041ffd869aaddef7af8d8215647e41a", 1406),
    "climate-fever": ("mteb/climate-fever", "47f2ac6acb640fc46020b02a5b59fdda04d39380", 1535),
    "cqadupstack": ("mteb/CQADupstackAndroidRetrieval", "9be4c0e46342e8e3aff577a89b9a1ec9bc6b4af3", 13145),
    "dbpedia": ("mteb/dbpedia", "c0f706b76e590d620bd6618b3ca8efdd34e2d659", 400),
    "fiqa": ("mteb/fiqa", "27a168819829fe9bcd655c2df245fb19452e8e06", 648),
    "hotpotqa": ("mteb/hotpotqa", "ab518f4d6fcca38d87c25209f94beba119d02014", 7405),
    "msmarco": ("mteb/msmarco", "c5a29a104738b98a9e76336939199e264163d4a0", 6980),
    "nfcorpus": ("mteb/nfcorpus", "ec0fa4fe99da2ff19ca1214b7966684033a58814", 323),
    "nq": ("mteb/nq", "b774495ed302d8c44a3a7ea25c90dbce03968f31", 3452),
    "scidocs": ("mteb/scidocs", "f8c2fcf00f625baaa80f62ec5bd9e1fff3b8ae88", 1000),
    "scifact": ("mteb/scifact", "d56462d0e63a25450459c4f213e49ffdb866f7f9", 300),
    "touche2020": ("mteb/touche2020", "a34f9a33db75fa0cbb21bb5cfc3dae8dc8bec93f", 49),
    "trec-covid": ("mteb/trec-covid", "bb9466bac8153a0349341eb1b22e06409e78ef4e", 50),
    "webqa-t2t": ("mteb/mbeir_webqa_task1", "17d2f7d42f1b3ef9293fb545b9039fcec1deab91", 2455),
    "nights": ("mteb/mbeir_nights_task4", "c798fa2f5173dc9fe0c727fd0abfd2f94cbc2f23", 2120),
    "visualnews-t2i": ("mteb/mbeir_visualnews_task0", "6ba75433fbeb6a06d9fccb27031bcafdfb8b5de1", 19995),
    "fashion200k-t2i": ("mteb/mbeir_fashion200k_task0", "725e5e2ccb114089e0070e83cdc94b83bc104d40", 1719),
    "mscoco-t2i": ("mteb/mbeir_mscoco_task0", "8dfc4d250094f4e241bcb93211d6c5fbc99bb0bd", 24809),
    "flickr30k-t2i": ("mteb/flickr30kt2i", "e819702b287bfbe084e129a61f308a802b7c108e", 5000),
    "arxivqa": ("mteb/arxivqa_test_subsampled_beir", "179762404662be6bf48c30b4fb2b2ef8c6891290", 500),
    "docvqa": ("mteb/docvqa_test_subsampled_beir", "e78cd130055fcb8d69bb0ff4115c4712a157f3d3", 451),
    "infovqa": ("mteb/infovqa_test_subsampled_beir", "74d396242cc281c021eeb38d0ee5f6f30afc1fad", 494),
    "tatdqa": ("mteb/tatdqa_test_beir", "dc7924ec102addd7f85c1ccfdd8625848179f615", 1646),
    "shift-project": ("mteb/shiftproject_test_beir", "78e6f5ad3bbc1af50ae9c0f006f57462213269fb", 100),
    "visualnews-i2t": ("mteb/mbeir_visualnews_task3", "158d0c0ce9cdd4f292964393de7dd47dc3e87519", 20000),
    "fashion200k-i2t": ("mteb/mbeir_fashion200k_task3", "74e9e63bf8f802f8cfb4ba6e01f48efc4f49032c", 4889),
    "mscoco-i2t": ("mteb/mbeir_mscoco_task3", "ec63d7122301171948387e757351fabd193fc39f", 5000),
    "flickr30k-i2t": ("mteb/flickr30ki2t", "e26fbfcb4532ab61e3c8512fdf3dd9008f2575bd", 1000),
    "edis": ("mteb/mbeir_edis_task2", "afc3409142cdf1adab05336dd1bc5fd3c0a659dc", 3241),
    "webqa-t2it": ("mteb/mbeir_webqa_task2", "8a9243d504a2039b3467abdef2208a127a5c0737", 2511),
    "oven-it2t": ("mteb/mbeir_oven_task6", "88994735625f4ebf646eaf42096f7ba204880ac2", 50004),
    "infoseek-it2t": ("mteb/mbeir_infoseek_task6", "4510aa3b456b23f39564694e053e70492cc1de9f", 11323),
    "remuq": ("izhx/UMRB-ReMuQ", "f0bd5955d2897bd1bed56546e88082d966c90a80", 3609),
    "okvqa": ("izhx/UMRB-OKVQA", "96a84a043f5465893670cf616f90e64086c0417a", 5046),
    "llava": ("izhx/UMRB-LLaVA", "2a5ed414aab388d8cdd244ba2cf8c8960df4d44d", 5120),
    "fashioniq": ("mteb/mbeir_fashioniq_task7", "469fba95d895f129f1d297619835d724db01904d", 6003),
    "cirr": ("mteb/mbeir_cirr_task7", "bb0713ed1ed136b2974fce68df7e26388040b650", 4170),
    "oven-it2it": ("mteb/mbeir_oven_task8", "619847759581b2e57dfc1d68e2dadedc9599b283", 14741),
    "evqa": ("izhx/UMRB-EncyclopediaVQA", "d6eae4f06e260664eb3f276fd1bdb5d4d4c9f32b", 3743),
    "infoseek-it2it": ("mteb/InfoSeekIT2ITRetrieval", "3baeebfd742e4130d2a75a842740ebb31ea4e6e9", 17593),
}
# Judgements with a grade other than 0, by mteb 2.26.24 (`num_relevant_docs` of its descriptive statistics).
POSITIVES = {
    "arguana": 1406,
    "climate-fever": 4681,
    "cqadupstack": 23703,
    "dbpedia": 15286,
    "fiqa": 1706,
    "hotpotqa": 14810,
    "msmarco": 7437,
    "nfcorpus": 12334,
    "nq": 4201,
    "scidocs": 4928,
    "scifact": 339,
    "touche2020": 932,
    "touche2020-v3": 1712,
    "trec-covid": 24675,
}
SPARE = {
    "mrmr-knowledge": ("MRMRbenchmark/knowledge", "c4e9395dfd01e875e5b4d204d2f9fd285c2a9d2e", 555),
    "arguana-decontaminated": ("iamfortytwo/arguana-decontaminated", "137f25bbb59b60bb6807ecb11a0d7e66b92fdd11", 1373),
    "scifact-decontaminated": ("iamfortytwo/scifact-decontaminated", "ad05bded28ca603a0ed5e27231899dd72c1edb8e", 41),
    "nfcorpus-decontaminated": ("iamfortytwo/nfcorpus-decontaminated", "e6f37a2687336d5b7b83d9aede6e114e9d46dad9", 169),
    "fiqa-decontaminated": ("iamfortytwo/fiqa-decontaminated", "4e693e028398575f83c17bc91515e81b13f534a2", 61),
    "scidocs-decontaminated": ("iamfortytwo/scidocs-decontaminated", "5b7a380cb7c8608e8c9bf6097acbc0eccf935de3", 201),
    "trec-covid-decontaminated": (
        "iamfortytwo/trec-covid-decontaminated",
        "0b99aeb603c9ad909564db1a80e380a2a78bc026",
        50,
    ),
    "touche2020-decontaminated": (
        "iamfortytwo/webis-touche2020-decontaminated",
        "bc4d287a9168dfb0ab2a94866cc17fc02c0dcb73",
        30,
    ),
    "quora-decontaminated": ("iamfortytwo/quora-decontaminated", "4d1fc7a24779fdd767c54e19e5606a843d3ecec1", 2788),
    "touche2020-v3": ("mteb/webis-touche2020-v3", "431886eaecc48f067a3975b70d0949ea2862463c", 49),
    "fever": ("mteb/fever", "bea83ef9e8fb933d90a2f1d5515737465d613e12", 6666),
    "quora": ("mteb/quora", "e4e08e0b7dbe3c8700f0daef558ff32256715259", 10000),
    "tabfquad": ("mteb/tabfquad_test_subsampled_beir", "24a4541c4c461f5ff4f4af4e97ec820715281a06", 280),
    "syntheticdocqa-ai": (
        "mteb/syntheticDocQA_artificial_intelligence_test_beir",
        "12c5b7a81fc19d66f1844642acdb88e8ad79af16",
        100,
    ),
    "syntheticdocqa-energy": ("mteb/syntheticDocQA_energy_test_beir", "eda52c9a0519252cfaacb7ae5e5da516b7d4b8cb", 100),
    "syntheticdocqa-government": (
        "mteb/syntheticDocQA_government_reports_test_beir",
        "ec534abea699035a18f9fd76f215277de9db9600",
        100,
    ),
    "syntheticdocqa-healthcare": (
        "mteb/syntheticDocQA_healthcare_industry_test_beir",
        "81d53880628d641aaf7365f3b2e65f57c814ecca",
        100,
    ),
    "vidore2-esg": ("vidore/esg_reports_v2", "0542c0d03da0ec1c8cbc517c8d78e7e95c75d3d3", 228),
    "vidore2-economics": ("vidore/economics_reports_v2", "b3e3a04b07fbbaffe79be49dabf92f691fbca252", 232),
    "vidore2-biomedical": ("vidore/biomedical_lectures_v2", "a29202f0da409034d651614d87cd8938d254e2ea", 640),
    "vidore2-esg-human": ("vidore/esg_reports_human_labeled_v2", "6d467dedb09a75144ede1421747e47cf036857dd", 52),
}
FORUMS = [
    ("mteb/CQADupstackAndroidRetrieval", "9be4c0e46342e8e3aff577a89b9a1ec9bc6b4af3"),
    ("mteb/cqadupstack-english", "ad9991cb51e31e31e430383c75ffb2885547b5f0"),
    ("mteb/cqadupstack-gaming", "4885aa143210c98657558c04aaf3dc47cfb54340"),
    ("mteb/cqadupstack-gis", "5003b3064772da1887988e05400cf3806fe491f2"),
    ("mteb/cqadupstack-mathematica", "90fceea13679c63fe563ded68f3b6f06e50061de"),
    ("mteb/cqadupstack-physics", "79531abbd1fb92d06c6d6315a0cbbbf5bb247ea4"),
    ("mteb/cqadupstack-programmers", "6184bc1440d2dbc7612be22b50686b8826d22b32"),
    ("mteb/cqadupstack-stats", "65ac3a16b8e91f9cee4c9828cc7c335575432a2a"),
    ("mteb/cqadupstack-tex", "46989137a86843e03a6195de44b09deda022eec7"),
    ("mteb/cqadupstack-unix", "6c6430d3a6d36f8d2a829195bc5dc94d7e063e53"),
    ("mteb/cqadupstack-webmasters", "160c094312a0e1facb97e55eeddb698c0abe3571"),
    ("mteb/cqadupstack-wordpress", "4ffe81d471b1924886b33c7567bfb200e9eec5c4"),
]
INFERRED = {"webqa-t2t", "arxivqa", "docvqa", "infovqa", "shift-project", "tatdqa"}


@pytest.fixture(scope="module")
def forty() -> list[Task]:
    return list_suite_tasks(load_suite("mrb"))


@pytest.fixture(scope="module")
def by_id() -> dict[str, Task]:
    return {task.id: task for task in list_tasks()}


def hub_files() -> list[Path]:
    return sorted(path for folder in (*FAMILIES, "spare") for path in (locate_task_folder() / folder).glob("*.toml"))


def test_the_folders_hold_the_forty_and_the_spare_sets() -> None:
    assert {path.stem for path in hub_files() if path.parent.name != "spare"} == set(EXPECTED)
    assert {path.stem for path in hub_files() if path.parent.name == "spare"} == set(SPARE)
    assert len(EXPECTED) == 40


@pytest.mark.parametrize("path", hub_files(), ids=lambda path: path.stem)
def test_each_file_is_a_pinned_definition(path: Path) -> None:
    task = read_task(path)
    assert task.id == path.stem
    assert path.parent.name in (task.family, "spare")
    expected = {**EXPECTED, **SPARE}[task.id]
    assert (task.repository, task.source.parts[0].revision, task.size.queries) == expected
    assert all(re.fullmatch("[0-9a-f]{40}", part.revision or "") for part in task.source.parts)
    assert task.homepage == f"https://huggingface.co/datasets/{expected[0]}/tree/{expected[1]}"
    assert task.candidates is None


def test_counts_of_types(forty: list[Task]) -> None:
    counts = Counter(task.type for task in forty)
    assert [counts[name] for name in TYPES] == [14, 1, 4, 5, 4, 2, 5, 2, 3]


def test_totals(forty: list[Task]) -> None:
    sums = sum_totals(forty, depth=100)
    assert (sums.tasks, sums.queries, sums.documents, sums.pairs) == (40, 253_975, 33_866_469, 25_397_500)
    assert sums.queries == sum(queries for _, _, queries in EXPECTED.values())
    assert (sums.gigabytes, sums.gigabytes_unknown) == (65.228, 27)


def test_lite_takes_at_most_its_sample(forty: list[Task]) -> None:
    lite = load_suite("mrb-lite")
    assert lite.tasks == tuple(task.id for task in forty)
    sums = sum_totals(forty, depth=lite.depth, sample=lite.sample)
    assert (sums.queries, sums.pairs) == (7_599, 759_900)
    assert [task.id for task in forty if count_queries(task, lite.sample) < 200] == [
        "touche2020",
        "trec-covid",
        "shift-project",
    ]


def test_a_small_corpus_bounds_the_pairs(by_id: dict[str, Task]) -> None:
    assert sum_totals([by_id["tabfquad"]], depth=100).pairs == 280 * 70


def test_documented_judgements_are_rows_or_positives(by_id: dict[str, Task]) -> None:
    for task_id, number in POSITIVES.items():
        size, zeros = by_id[task_id].size, by_id[task_id].rules.zero_grades_listed
        # Where rows of grade 0 are listed, mteb's number is not that of the rows.
        assert (size.qrels, size.positives) == ((None, number) if zeros else (number, None)), task_id


def test_twins_differ_from_their_set_by_what_is_left_out(by_id: dict[str, Task]) -> None:
    twins = {task.id: by_id[task.twin_of] for task in by_id.values() if task.twin_of}
    assert len(twins) == 8
    for task_id, whole in twins.items():
        twin = by_id[task_id]
        assert task_id == f"{whole.id}-decontaminated" and whole.twin_of is None
        assert (twin.instruction, twin.cluster, twin.type) == (whole.instruction, whole.cluster, whole.type)
        assert (twin.size.queries, twin.size.documents) <= (whole.size.queries, whole.size.documents)


def test_status(forty: list[Task]) -> None:
    assert {task.id for task in forty if task.status == "inferred"} == INFERRED
    assert all("Not read" in task.status_reason for task in forty)


def test_cqadupstack_has_twelve_forums(by_id: dict[str, Task]) -> None:
    task = by_id["cqadupstack"]
    assert [(part.repository, part.revision) for part in task.source.parts] == FORUMS
    assert task.rules.average_over_parts
    assert re.fullmatch("[0-9a-f]{64}", task.revision)
    assert [other.id for other in by_id.values() if len(other.source.parts) > 1] == ["cqadupstack"]


def test_no_repository_serves_two_tasks(by_id: dict[str, Task]) -> None:
    hub = [task for task in by_id.values() if task.source.kind == "hub"]
    used = Counter(part.repository for task in hub for part in task.source.parts)
    assert [name for name, count in used.items() if count > 1] == []


def test_measures_of_the_sources(forty: list[Task]) -> None:
    measures = {task.id: task.source_measure for task in forty}
    ten = {name for name, measure in measures.items() if measure == "HitRate@10"}
    assert ten == {"fashion200k-t2i", "fashion200k-i2t", "fashioniq", "okvqa"}
    assert {task.type for task in forty if task.source_measure == "nDCG@5"} == {"t2vd"}
    assert {task.source.schema_family for task in forty if task.source_measure == "nDCG@10"} == {"beir"}
    assert str(HEADLINE) == HEADLINE_MEASURE


def test_rules(by_id: dict[str, Task]) -> None:
    def with_rule(name: str) -> set[str]:
        return {task.id for task in by_id.values() if task.id in EXPECTED and getattr(task.rules, name)}

    assert all(by_id[name].rules.drop_identical_ids for name in ("fever", "quora"))
    assert with_rule("drop_qrels_outside_corpus") == {
        "arguana",
        "oven-it2t",
        "oven-it2it",
        "infoseek-it2t",
        "infoseek-it2it",
    }
    assert with_rule("drop_identical_ids") == {"arguana", "fiqa"}
    assert with_rule("drop_query_image_from_candidates") == {"cirr", "fashioniq"}
    assert with_rule("graded") == {"dbpedia", "nfcorpus", "touche2020", "trec-covid"}
    assert with_rule("zero_grades_listed") == {"dbpedia", "scidocs", "touche2020", "trec-covid"}


def test_raw_judgements_make_another_task(by_id: dict[str, Task]) -> None:
    task = by_id["oven-it2t"]
    raw = task.with_qrels("raw")
    assert (task.qrels, raw.qrels, raw.rules.drop_qrels_outside_corpus) == ("cleaned", "raw", True)
    assert raw.hash != task.hash == raw.with_qrels("cleaned").hash
    assert raw.with_qrels("raw") is raw and raw.with_qrels("cleaned") == task
    assert not any(task.rules.raw_qrels for task in by_id.values())


def test_clusters_fit_the_type(by_id: dict[str, Task]) -> None:
    for task in by_id.values():
        if task.source.kind == "hub" and task.type in ("it2t", "it2i", "it2it"):
            assert task.cluster == "query_image", task.id
        if task.cluster == "query_image":
            assert "image" in task.query_modality, task.id


def test_image_limits_hold_the_documented_pictures(by_id: dict[str, Task]) -> None:
    for task in by_id.values():
        images = task.images
        if task.type == "t2t":
            assert images == tasks.Images(), task.id
        elif images.largest is not None:
            pixels = images.largest[0] * images.largest[1]
            assert images.max_pixels == max(pixels, tasks.Images().max_pixels), task.id
            assert (images.downscale_pixels == 4096 * 4096) == (pixels > 4096 * 4096), task.id


def test_a_format_that_no_document_states_says_so(by_id: dict[str, Task]) -> None:
    for task in by_id.values():
        unsure = task.source.schema_family == "beir" and task.source.kind == "hub" and task.id != "arguana"
        unsure = unsure and not task.id.startswith("vidore3-")
        assert task.source.format_confirmed != unsure, task.id
    assert by_id["arguana"].source.format == "json"


def test_msmarco_is_judged_on_dev(by_id: dict[str, Task]) -> None:
    qrels = by_id["msmarco"].source.parts[0].qrels
    assert {qrels.split, *(split for _, split in qrels.alternatives)} == {"dev"}


def test_filters(forty: list[Task]) -> None:
    assert len(filter_tasks(forty, family="fused")) == 12
    assert {task.type for task in filter_tasks(forty, types=["i2i", "t2vd"])} == {"i2i", "t2vd"}
    assert [task.id for task in filter_tasks(forty, text="PANDEMIC")] == ["trec-covid"]
    assert [task.id for task in filter_tasks(forty, text="mteb/MBEIR_cirr")] == ["cirr"]
    with pytest.raises(TaskError, match="unknown family 'Cross'"):
        filter_tasks(forty, family="Cross")
    with pytest.raises(TaskError, match="did you mean t2t"):
        filter_tasks(forty, types=["t2tt"])


def test_unknown_names_are_answered_with_close_ones() -> None:
    with pytest.raises(TaskError, match="did you mean nfcorpus"):
        load_task("nfcorpsu")
    with pytest.raises(TaskError, match="did you mean mrb-lite"):
        load_suite("mrb-light")


def test_files_share_one_order_of_keys() -> None:
    order = list(Task.model_fields)
    for path in hub_files():
        keys = list(tomllib.loads(path.read_text(encoding="utf-8")))
        assert keys == sorted(keys, key=order.index), path.name


def test_the_table_in_the_docs_is_the_registry(forty: list[Task]) -> None:
    rows = [
        line for line in DOCS.read_text(encoding="utf-8").splitlines() if "](https://huggingface.co/datasets/" in line
    ]
    assert rows == [docs_row(kind, [task for task in forty if task.type == kind]) for kind in TYPES]


def docs_row(kind: str, found: list[Task]) -> str:
    """The row of a type in docs/tasks.md; to renew the table, print this for every type."""
    links = ", ".join(f"[`{task.id}`]({task.homepage})" for task in found)
    return f"| `{kind}` | {found[0].family} | {len(found)} | {links} |"


def test_the_docs_name_every_rule_and_family(forty: list[Task]) -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name in (*tasks.Rules.model_fields, *{task.source.schema_family for task in forty}):
        assert f"`{name}`" in text, name
