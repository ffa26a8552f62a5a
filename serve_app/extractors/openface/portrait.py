"""Pictures to warm OpenFace up with, drawn here: nobody's face is shipped."""

from functools import cache
from io import BytesIO

from PIL import Image, ImageDraw, ImageFilter

_SPECK_PX = 8
_SIZE_PX = (320, 320)
_SKIN, _SHADOW, _DARK, _WHITE, _LIPS, _BACKGROUND = "#c99b7e", "#8f6450", "#2a1c17", "#e8e4de", "#94504c", "#5a6470"


@cache
def draw_speck() -> bytes:
    """Draw a picture too small for any face: PNG."""
    return _png(Image.new("RGB", (_SPECK_PX, _SPECK_PX)))


@cache
def draw_face() -> bytes:
    """Draw a face, plain but with what a face detector goes by: PNG, 320 x 320."""
    picture = Image.new("RGB", _SIZE_PX, _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((75, 35, 245, 200), fill=_DARK)  # hair
    draw.ellipse((85, 50, 235, 275), fill=_SKIN)
    for x in (125, 195):
        draw.ellipse((x - 27, 116, x + 27, 160), fill=_SHADOW)
        draw.arc((x - 28, 108, x + 28, 150), 200, 340, fill=_DARK, width=7)  # brow
        draw.ellipse((x - 17, 131, x + 17, 149), fill=_WHITE)
        draw.ellipse((x - 8, 131, x + 8, 148), fill=_DARK)
    draw.polygon([(160, 140), (140, 196), (180, 196)], fill="#b98a6d")
    draw.ellipse((140, 186, 180, 202), fill=_SHADOW)
    draw.ellipse((130, 218, 190, 242), fill=_LIPS)
    draw.line((132, 230, 188, 230), fill=_DARK, width=4)
    return _png(picture.filter(ImageFilter.GaussianBlur(2.5)))


def _png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
