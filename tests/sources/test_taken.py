from taskodec.sources.taken import Taken


def test_a_name_is_taken_once():
    taken = Taken()
    assert taken.claim("out/a.tkd", "a.png") == ""
    assert taken.claim("out/b.tkd", "b.png") == ""
    assert taken.claim("out/a.tkd", "a.jpg") == "a.png"
    assert taken.claim("out/a.tkd", "a.bmp") == "a.png"


def test_names_are_bytes():
    taken = Taken()
    name = "\udcff\x1b\n.tkd"
    assert taken.claim(name, name) == ""
    assert taken.claim(name, "other") == name


def test_an_output_that_is_an_input_is_found():
    taken = Taken()
    taken.read_from("a.png")
    taken.claim("b.png", "a.png")
    assert taken.overwritten() == ""
    taken.read_from("b.png")
    assert taken.overwritten() == "b.png"


def test_twenty_thousand_names_take_little_memory():
    import tracemalloc

    taken = Taken()
    tracemalloc.start()
    for number in range(20_000):
        assert taken.claim(f"folder/{number:09}.tkd", f"folder/{number:09}.png") == ""
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert taken.claim("folder/000000007.tkd", "x") == "folder/000000007.png"
