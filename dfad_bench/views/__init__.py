"""Views: named inputs of a model beside the pixels. Names and where each is; see README.md."""

VIEWS: dict[str, str] = {
    "captions": "dfad_bench.views.captions:Captions",
    "features": "dfad_bench.views.features:Features",
    "face_embedding": "dfad_bench.views.face_embedding:FaceEmbedding",
    "forgery_mask": "dfad_bench.views.forgery_mask:ForgeryMask",
    "gaze": "dfad_bench.views.gaze:Gaze",
    "gaze_patches": "dfad_bench.views.gaze_patches:GazePatches",
    "parsing": "dfad_bench.views.parsing:Parsing",
}
