"""Source adapters: how files on disk become samples. A dataset YAML names its layout; this table names the code."""

SOURCES = {
    "folders": "dfad_bench.data.sources.folders:list_images",
    "videos": "dfad_bench.data.sources.videos:list_videos",
    "archives": "dfad_bench.data.sources.folders:list_images",
    "image_folder": "dfad_bench.data.sources.image_folder:list_images",
    "deepfakebench": "dfad_bench.data.sources.deepfakebench:list_frames",
    "table": "dfad_bench.data.sources.table:list_images",
}
