"""What a person sees in headless Chromium: the runs' page of MLflow, a comparison with images, the report.

With CELLML_SCREENSHOTS set to a folder, the pictures of the README are written there.
"""

import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(not shutil.which("chromium") or not shutil.which("chromedriver"), reason="needs Chromium"),
]
OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
]


@pytest.fixture(scope="module")
def server(finished):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["mlflow", "ui", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=finished.folder, env=finished.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(address + "/health", timeout=1)
            break
        except OSError:
            time.sleep(0.5)
    yield address
    process.terminate()
    process.wait(30)


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    for option in [*OPTIONS, f"--user-data-dir={tmp_path / 'chromium'}"]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_window_size(1400, 900)
    yield driver
    driver.quit()


def shot(browser, name):
    if folder := os.environ.get("CELLML_SCREENSHOTS"):
        time.sleep(2)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def text(browser):
    return browser.find_element(By.TAG_NAME, "body").text


def trials(finished):
    runs = [r for r in finished.runs("cells") if r.data.tags.get("cellml.kind") == "trial"]
    return sorted(runs, key=lambda r: -r.data.metrics["val/balanced_accuracy"])


def open_runs(browser, address, condition, **parameters):
    query = {
        "workflowType": "machine_learning",
        "searchFilter": condition,
        "orderByKey": "metrics.`val/balanced_accuracy`",
        "orderByAsc": "false",
    }
    browser.get(f"{address}/runs?{urllib.parse.urlencode(query | parameters)}")
    assistant = (By.CSS_SELECTOR, 'button[aria-label="Close"]')
    WebDriverWait(browser, 90).until(lambda b: "matching runs" in text(b))
    for button in browser.find_elements(*assistant):
        button.click()


def test_trials_are_filtered_by_strategy_and_sorted_by_score(finished, server, browser):
    chosen = [r for r in trials(finished) if r.data.tags["cellml.strategy"] == "balanced"]
    names = [r.info.run_name for r in chosen]
    others = [r.info.run_name for r in trials(finished) if r not in chosen]
    open_runs(browser, f"{server}/#/experiments/{chosen[0].info.experiment_id}", "tags.`cellml.strategy` = 'balanced'")
    WebDriverWait(browser, 90).until(lambda b: "2 matching runs" in text(b))
    shown = [link.text for link in browser.find_elements(By.CSS_SELECTOR, "a") if link.text in names + others]
    scores = {r.info.run_name: r.data.metrics["val/balanced_accuracy"] for r in chosen}
    assert [scores[name] for name in shown] == sorted(scores.values(), reverse=True)
    shot(browser, "ui_runs")


def test_two_trials_are_compared_with_their_images(finished, server, browser):
    pair = trials(finished)[:2]
    ids = ", ".join(f"'{r.info.run_id}'" for r in pair)
    browser.set_window_size(1400, 1100)
    experiment = f"{server}/#/experiments/{pair[0].info.experiment_id}"
    open_runs(browser, experiment, f"attributes.run_id IN ({ids})", compareRunsMode="CHART")
    WebDriverWait(browser, 90).until(lambda b: "2 matching runs" in text(b))
    search = browser.find_element(By.CSS_SELECTOR, 'input[placeholder="Search metric charts"]')
    search.send_keys("confusion|gradcam [0-9]")

    def images(b):
        found = [i for i in b.find_elements(By.TAG_NAME, "img") if "artifact" in (i.get_attribute("src") or "")]
        return len(found) >= len(pair) and found

    WebDriverWait(browser, 90).until(images)
    WebDriverWait(browser, 60).until(lambda b: all(i.get_property("naturalWidth") > 100 for i in images(b)))
    shot(browser, "ui_compare")


def test_the_registered_model_shows_the_benchmark(finished, server, browser):
    browser.get(f"{server}/#/models/tiny.test_resnet")
    WebDriverWait(browser, 90).until(lambda b: "majority class" in text(b))
    assert "champion" in text(browser)


def test_the_report_opens_without_errors_and_sorts(finished, browser):
    (parent,) = [r for r in finished.runs("cells") if r.data.tags.get("cellml.kind") == "main"]
    report = finished.client.download_artifacts(parent.info.run_id, "benchmark/report.html")
    browser.get(Path(report).as_uri())
    assert "majority class" in text(browser)
    shot(browser, "report")
    for image in browser.find_elements(By.TAG_NAME, "img"):  # loaded when they come into view
        browser.execute_script("arguments[0].scrollIntoView()", image)
        WebDriverWait(browser, 20).until(lambda _, shown=image: shown.get_property("naturalWidth") > 10)
    for head in browser.find_elements(By.CSS_SELECTOR, "th button"):
        head.click()
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
