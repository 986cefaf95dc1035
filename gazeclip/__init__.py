"""GazeCLIP (arXiv 2603.29295), a file a module of the paper, and its variants."""

DFAD_MODELS = {
    "gazeclip": "gazeclip.model:GazeCLIP",
    "gazeclip_no_gaze": "gazeclip.variants:GazeCLIPNoGaze",
    "gazeclip_no_gi": "gazeclip.variants:GazeCLIPNoGI",
    "gazeclip_no_lre": "gazeclip.variants:GazeCLIPNoLRE",
    "gazeclip_no_aws": "gazeclip.variants:GazeCLIPNoAWS",
}
