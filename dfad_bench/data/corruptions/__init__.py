"""Image corruptions by name; the strength of each severity is in `manifests/corruptions.yaml`.

An operator takes an RGB image (H, W, 3) uint8, a strength and a random generator, and returns a new image of the same
shape and type. To add one: a file here, a line below, its severities in the YAML file.
"""

CORRUPTIONS = {
    "saturation": "dfad_bench.data.corruptions.colour:saturation",
    "contrast": "dfad_bench.data.corruptions.colour:contrast",
    "block_wise": "dfad_bench.data.corruptions.spatial:block_wise",
    "gaussian_noise": "dfad_bench.data.corruptions.colour:gaussian_noise",
    "blur": "dfad_bench.data.corruptions.spatial:blur",
    "pixelation": "dfad_bench.data.corruptions.spatial:pixelation",
    "video_compression": "dfad_bench.data.corruptions.codec:video_compression",
    "video_compression_clip": "dfad_bench.data.corruptions.codec:video_compression_clip",
    "jpeg": "dfad_bench.data.corruptions.codec:jpeg",
    "motion_blur": "dfad_bench.data.corruptions.spatial:motion_blur",
    "defocus_blur": "dfad_bench.data.corruptions.spatial:defocus_blur",
    "brightness": "dfad_bench.data.corruptions.colour:brightness",
    "gamma": "dfad_bench.data.corruptions.colour:gamma",
}
