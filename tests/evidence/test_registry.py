"""The registry: every claim of the five documents, in parts."""

from actnorm import evidence


def test_registry_holds_the_37_claims_of_the_five_documents():
    claims = evidence.registry()
    assert len(claims) == 37
    assert {key for claim in claims.values() for key in claim.sources} == set(evidence.sources())
    assert len(evidence.sources()) == 5
    for claim in claims.values():
        assert claim.title
        assert claim.statement
        assert any(p.role == "core" for p in claim.parts), claim.id
        for p in claim.parts:
            assert p.asserts, (claim.id, p.name)
            assert p.page.count("/") == 1, (claim.id, p.name)
            if p.registered:
                assert p.metric, (claim.id, p.name)
                assert p.arms, (claim.id, p.name)
                assert p.why, (claim.id, p.name)
                assert p.replicas >= 2, (claim.id, p.name)
