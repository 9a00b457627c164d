import base64
import io
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from cellml.explain import page, panels, selection

METHODS = ("gradcam", "integrated_gradients")
HOSTILE = "<script>alert(1)</script>\" onload='x' & $a$ " + "W" * 90


def shown(k=0, methods=METHODS, size=(24, 24), **changes):
    rng = np.random.default_rng(k)
    values = {
        "id": f"slide/{k}.png",
        "image": rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        "explained": "pos" if k % 2 else "neg",
        "true": "pos",
        "predicted": "pos" if k % 2 else "neg",
        "probability": 0.25 * (k % 4),
        "group": selection.GROUPS[k % 4],
        "maps": {m: (j + 1) * rng.normal(size=size).astype(np.float32) for j, m in enumerate(methods)},
    }
    return page.Shown(**{**values, **changes})


class Read(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data.strip())

    def of(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in wanted.items())]


def decoded(uri):
    kind, _, data = uri.partition(",")
    assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_every_image_has_its_picture_and_a_map_by_every_method():
    images = [shown(k) for k in range(5)]
    read = Read(page.html(images, model="m"))
    pictures = read.of("img", **{"class": "picture"})
    assert [p["alt"] for p in pictures] == [one.id for one in images]
    for one, tag in zip(images, pictures, strict=True):
        pixels = np.asarray(decoded(tag["src"])).astype(int)
        assert np.abs(pixels - one.image).mean() < 8  # JPEG, of noise
        assert min(np.abs(pixels - other.image).mean() for other in images if other is not one) > 50
    for method in METHODS:
        maps = [a for a in read.of("img", **{"class": "map"}) if a["data-method"] == method]
        assert len(maps) == 5
        assert all(("hidden" in a) == (method != METHODS[0]) for a in maps)
    assert {"right: pos", "wrong: pos, said neg"} <= set(read.texts)
    assert "P(pos) = 0.25, borderline" in read.texts


def test_a_map_is_green_for_red_against_and_clear_where_it_is_silent():
    heat = np.zeros((12, 12), np.float32)
    heat[:4], heat[8:] = 2.0, -2.0
    pixels = np.asarray(decoded(page.map_uri(heat)).convert("RGBA")).astype(int)
    assert (pixels[5, :, 3] == 0).all()
    assert (pixels[0, :, :3] == np.rint(255 * np.array(panels.FOR))).all()
    assert (pixels[11, :, :3] == np.rint(255 * np.array(panels.AGAINST))).all()
    assert (pixels[[0, 11], :, 3] == 191).all()


def test_over_a_grey_picture_it_looks_as_the_overlay_of_the_sheets_does():
    rng = np.random.default_rng(0)
    image, heat = np.full((40, 40, 3), 150, np.uint8), rng.normal(size=(40, 40)).astype(np.float32)
    laid = Image.new("RGBA", (40, 40), tuple([round(255 * (0.15 + 0.8 * 150 / 255))] * 3))
    laid.alpha_composite(decoded(page.map_uri(heat)).convert("RGBA"))
    difference = np.asarray(laid)[..., :3].astype(int) - panels.overlay(image, heat)
    assert np.abs(difference).max() <= 6  # one of 31 shades


def test_large_pictures_and_maps_are_made_smaller_in_proportion():
    image = np.zeros((300, 600, 3), np.uint8)
    assert decoded(page.picture_uri(image)).size == (256, 128)
    assert decoded(page.map_uri(np.ones((300, 600), np.float32))).size == (128, 64)
    assert decoded(page.map_uri(np.ones((9, 7), np.float32))).size == (7, 9)


def test_sixty_four_images_by_six_methods_stay_under_ten_megabytes():
    one = shown(0, [f"m{j}" for j in range(6)], (224, 224))
    noise = sum(len(page.map_uri(heat)) for heat in one.maps.values())  # what compresses worst
    texture = gaussian_filter(one.image, (2, 2, 0))
    contrast = np.clip(8.0 * (texture - 127.0) + 127, 0, 255).astype(np.uint8)
    assert 64 * (noise + len(page.picture_uri(contrast))) < 10e6


def test_nothing_comes_from_elsewhere():
    text = page.html([shown(k) for k in range(3)], model="m")
    read = Read(text)
    assert not read.of("link")
    assert all(a["src"].startswith("data:image/") for _, a in read.tags if "src" in a)
    assert not re.search(r"https?:|url\(|@import", text)
    (policy,) = read.of("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'; img-src data:;")


def test_hostile_names_are_text():
    one = shown(0, (HOSTILE,), id=HOSTILE, explained=HOSTILE, true=HOSTILE, predicted="b")
    measured = {HOSTILE: {"deletion": 0.5, HOSTILE: 1.0}}
    text = page.html(
        [one],
        model=HOSTILE,
        description=HOSTILE,
        faithfulness=measured,
        fallbacks={HOSTILE: HOSTILE},
        warnings=[HOSTILE],
    )
    read = Read(text)
    assert len(read.of("script")) == 1
    assert not any("onload" in a for _, a in read.tags)
    assert "<script>alert" not in text
    assert read.texts.count(HOSTILE.strip()) >= 6
    assert read.of("img", **{"class": "picture"})[0]["alt"] == HOSTILE


def test_filters_name_what_there_is():
    read = Read(page.html([shown(k) for k in (0, 1, 2, 4)], model="m"))
    boxes = read.of("input", name="group")
    assert [box["value"] for box in boxes] == ["true positive", "borderline", "false negative"]
    assert {"true positive (2)", "borderline (1)", "false negative (1)"} <= set(read.texts)
    assert [a["data-class"] for a in read.of("figure")] == ["1", "2", "1", "1"]
    assert "4 of 4 shown" in read.texts


def test_unknown_classes_and_images_without_groups():
    text = page.html([shown(0, true="", predicted="neg", group=""), shown(1, true="", group="unknown")], model="m")
    assert "said neg, true class unknown" in Read(text).texts
    assert [a["data-verdict"] for a in Read(text).of("figure")] == ["unknown", "unknown"]


def test_table_of_faithfulness():
    measured = {
        "gradcam": {"deletion": 0.25, "insertion": 0.75, "pointing_game": float("nan"), "extra_one": 1.0},
        "random": {"deletion": 0.5, "insertion": 0.5, "pointing_game": float("nan")},
    }
    text = page.html([shown()], model="m", faithfulness=measured)
    table = text[text.index("<table") : text.index("</table>")]
    assert "pointing" not in table
    assert "deletion AUC<small>lower is better" in table
    assert "insertion AUC<small>higher is better" in table
    assert "extra one</th>" in table
    assert table.index("gradcam") < table.index("<tfoot>") < table.index("random")
    assert "<td>0.250</td><td>0.750</td><td>1.000</td>" in table
    assert "<td>0.500</td><td>0.500</td><td></td>" in table
    assert "<table" not in page.html([shown()], model="m")


def test_a_method_that_gave_no_map_of_an_image_says_so():
    read = Read(page.html([shown(0), shown(1, METHODS[1:])], model="m"))
    assert ["hidden" in a for a in read.of("span", **{"class": "none"})] == [True, False]


def test_written_as_one_file(tmp_path):
    page.write(tmp_path / "explain.html", [shown(true="前期")], model="é")
    assert "前期" in (tmp_path / "explain.html").read_text(encoding="utf-8")


def test_without_maps_there_is_no_page():
    with pytest.raises(ValueError, match="got 0 images"):
        page.html([], model="m")
    with pytest.raises(ValueError, match="got 1 images"):
        page.html([shown(0, ())], model="m")


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver

    from tests.e2e.test_browser import OPTIONS

    options = webdriver.ChromeOptions()
    for option in [*OPTIONS, f"--user-data-dir={tmp_path / 'chromium'}"]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromium") or not shutil.which("chromedriver"), reason="needs Chromium")
def test_in_a_browser(browser, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    grey, heat = np.full((24, 24, 3), (200, 100, 0), np.uint8), np.ones((24, 24), np.float32)
    plain = shown(0, image=grey, maps={METHODS[0]: heat, METHODS[1]: -heat})
    names = {"id": HOSTILE, "explained": HOSTILE, "true": HOSTILE}
    images = [plain, *(shown(k) for k in range(1, 7)), shown(7, METHODS[:1], (12, 40), **names)]
    said = {"fallbacks": {METHODS[1]: "another stands in"}, "warnings": [HOSTILE]}
    measured = {m: dict.fromkeys(page.HEADS, 0.5) for m in METHODS}
    page.write(tmp_path / "explain.html", images, model=HOSTILE, faithfulness=measured, **said)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.get((tmp_path / "explain.html").as_uri())

    def find(selector):
        return browser.find_elements(By.CSS_SELECTOR, selector)

    def color():
        find(".card")[0].location_once_scrolled_into_view  # noqa: B018
        pixels = Image.open(io.BytesIO(find(".card .stack")[0].screenshot_as_png)).convert("RGB")
        return np.array(pixels.getpixel((pixels.width // 2, pixels.height // 2))).astype(int)

    def visible():
        return [card.get_attribute("data-group") for card in find(".card") if card.is_displayed()]

    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert all(i.get_property("naturalWidth") > 0 for i in find("img"))
    assert visible() == [one.group for one in images]

    slider = find(".card input[type=range]")[0]
    slider.send_keys(Keys.HOME)
    assert np.abs(color() - (200, 100, 0)).max() < 6
    slider.send_keys(Keys.END)
    green = color()
    assert green[1] > green[0] + 50
    assert find(".card input[type=range]")[1].get_property("value") == "70"

    Select(find("#method")[0]).select_by_value(METHODS[1])
    red = color()
    assert red[0] > red[1] + 50
    assert [note.is_displayed() for note in find("[data-fallback]")] == [True]
    assert [note.is_displayed() for note in find(".none")] == [False] * 7 + [True]

    find("#mix")[0].send_keys(Keys.HOME)
    assert {s.get_property("value") for s in find(".card input[type=range]")} == {"0"}
    assert np.abs(color() - (200, 100, 0)).max() < 6

    find("input[value=borderline]")[0].send_keys(Keys.SPACE)
    assert visible() == [one.group for one in images if one.group != "borderline"]
    Select(find("#class")[0]).select_by_visible_text("pos")
    assert visible() == [one.group for one in images if one.group != "borderline" and one.explained == "pos"]
    assert find("#count")[0].text == f"{len(visible())} of 8 shown"
    assert not browser.get_log("browser")
