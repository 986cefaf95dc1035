"""GazeCLIP (arXiv 2603.29295), a file a module of the paper, and its variants."""

DFAD_MODELS = {
    "gazeclip": "gazeclip.model:GazeCLIP",
}
