"""Source adapters: from files on disk to samples. A dataset YAML names its layout, this table the code of each."""

SOURCES = {
    "folders": "dfad_bench.ingest.sources.folders:list_images",
    "videos": "dfad_bench.ingest.sources.videos:list_videos",
    "archives": "dfad_bench.ingest.sources.folders:list_images",
    "image_folder": "dfad_bench.ingest.sources.image_folder:list_images",
    "deepfakebench": "dfad_bench.ingest.sources.deepfakebench:list_frames",
    "hf_parquet": "dfad_bench.ingest.sources.hf_parquet:list_rows",
    "table": "dfad_bench.ingest.sources.table:list_images",
}
