"""Published collections of training data that several models share, by the names of mteb's tasks."""

from __future__ import annotations

BGE_M3_DATA = (
    "T2Retrieval",
    "DuRetrieval",
    "MMarcoReranking",
    "CMedQAv2-reranking",
    "HotpotQA",
    "NQ",
    "MSMARCO",
    "MrTidyRetrieval",
    "MIRACLRetrieval",
    "LeCaRDv2",
    "CodeSearchNet",
)
"""Shitao/bge-m3-data, as mteb 2.26.24 lists it."""

COLPALI_DATA = ("VidoreArxivQARetrieval", "VidoreDocVQARetrieval", "VidoreInfoVQARetrieval", "VidoreTatdqaRetrieval")
"""vidore/colpali_train_set: the training sets of four sets of ViDoRe, beside synthetic pages."""

ETTIN_DATA = (
    "FEVER",
    "FiQA2018",
    "HotpotQA",
    "MSMARCO",
    "NQ",
    "DBPedia",
    "QuoraRetrieval",
    "SCIDOCS",
    "CQADupstackRetrieval",
)
"""cross-encoder/ettin-reranker-v1-data: the retrieval sets of what mteb 2.26.24 lists."""

LIGHTON_DATA = ("MSMARCO", "NQ", *COLPALI_DATA)
"""LightOn-rerank-LW and -PW, as mteb 2.26.24 lists it."""

MBEIR_FUSED_DATA = (
    "CIRRIT2IRetrieval",
    "EDIST2ITRetrieval",
    "FashionIQIT2IRetrieval",
    "InfoSeekIT2ITRetrieval",
    "InfoSeekIT2TRetrieval",
    "OVENIT2ITRetrieval",
    "OVENIT2TRetrieval",
    "WebQAT2ITRetrieval",
)
"""The sets of M-BEIR (arXiv 2311.17136) in which a query or a document has an image and a text."""

MBEIR_DATA = (
    *MBEIR_FUSED_DATA,
    "Fashion200kI2TRetrieval",
    "Fashion200kT2IRetrieval",
    "MSCOCOI2TRetrieval",
    "MSCOCOT2IRetrieval",
    "NIGHTSI2IRetrieval",
    "VisualNewsI2TRetrieval",
    "VisualNewsT2IRetrieval",
    "WebQAT2TRetrieval",
)
"""All sets of M-BEIR."""
