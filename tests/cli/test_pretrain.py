from taskodec.images.tensors import save_image


def test_pretraining_at_the_command_line(run, photo, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    save_image(photo, folder / "one.png")
    (tmp_path / "dark.py").write_text("def dark(x_hat, x):\n    return (x_hat - 0.5 * x).square().mean()\n")
    small = [
        f"--set=pretrain.{key}"
        for key in (
            "stages=[{until: 1, crop: 32}]",
            "validate_every=2",
            "calibration_crops=1",
            "lr=0.05",
        )
    ]
    task = ["--task", f"{tmp_path / 'dark.py'}:dark", "--codec", "tiny"]
    call = ["pretrain", *task, "--data", folder, "--validation", folder, "-o", tmp_path / "run", "--steps", "4", *small]
    code, out, err = run(*call)
    assert (code, err) == (0, "")
    file = tmp_path / "run" / "adapter.safetensors"
    assert out.startswith(f"{file}: cost ")
    assert run(*call)[0] == 2
    assert run(*call, "--resume")[0] == 0
    again = [*call[:-1], "--set=pretrain.lr=1e-3", "-o", tmp_path / "more", "--init", file]
    assert run(*again)[0] == 0
    stream, picture = tmp_path / "a.tkd", tmp_path / "a.png"
    code, _, err = run("compress", folder / "one.png", *task, "--steps", "0", "--adapter", file, "-o", stream)
    assert (code, err) == (0, "")
    code, _, err = run("decompress", stream, "-o", picture)
    assert code == 1
    assert "--adapter" in err
    assert run("decompress", stream, "-o", picture, "--adapter", file)[0] == 0
    assert picture.exists()
