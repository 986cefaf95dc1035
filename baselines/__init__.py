"""The systems both papers compare, one file each. A new baseline is its file and one line here."""

DFAD_MODELS = {
    "always_fake": "baselines.constant:AlwaysFake",
    "never_sure": "baselines.constant:NeverSure",
    "majority": "baselines.constant:Majority",
    "xception": "baselines.xception:Xception",
    "resnet": "baselines.resnet:ResNet",
    "vit": "baselines.vit:ViT",
    "cpl": "baselines.cpl:CPL",
    "cael": "baselines.cael:CAEL",
    "cvit": "baselines.cvit:CViT",
    "dna_det": "baselines.dna_det:DNADet",
    "clip": "baselines.clip:CLIP",
    "de_fake": "baselines.de_fake:DEFAKE",
    "carzero": "baselines.carzero:CARZero",
    "repdfd": "baselines.repdfd:RepDFD",
    "forensics_adapter": "baselines.forensics_adapter:ForensicsAdapter",
    "mfclip": "baselines.mfclip:MFCLIP",
    "bmrl": "baselines.bmrl:BMRL",
    "effort": "baselines.effort:Effort",
    "lida": "baselines.lida:LIDA",
    "vfm_probe": "baselines.vfm_probe:VFMProbe",
}
