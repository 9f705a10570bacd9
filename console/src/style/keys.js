// Security keys: what a form asks one for goes into its hidden field and is sent with the rest. Without a script a code does.
{
  const packed = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  const unpacked = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  const say = (part, text) => { part.querySelector('[role="status"]').textContent = text; };
  const credentials = (ids) => ids.map((id) => ({ type: 'public-key', id: unpacked(id) }));
  const timeout = 120_000;

  async function ask(part) {
    const csrf = part.closest('form').elements.csrf.value;
    const body = new URLSearchParams({ csrf, purpose: part.dataset.keyPart });
    const answer = await fetch(part.dataset.challenge, { method: 'POST', body });
    if (!answer.ok) throw new Error(`no challenge: ${answer.status}`);
    say(part, part.dataset.touch);
    return answer.json();
  }

  const acts = {
    async PROVE(part) {
      const asked = await ask(part);
      const shown = await navigator.credentials.get({
        publicKey: {
          challenge: unpacked(asked.challenge),
          rpId: asked.party,
          allowCredentials: credentials(asked.known),
          userVerification: 'discouraged',
          timeout,
        },
      });
      const { clientDataJSON, authenticatorData, signature } = shown.response;
      return {
        credential: packed(shown.rawId),
        client: packed(clientDataJSON),
        data: packed(authenticatorData),
        signature: packed(signature),
      };
    },
    async ADD(part) {
      const asked = await ask(part);
      const made = await navigator.credentials.create({
        publicKey: {
          challenge: unpacked(asked.challenge),
          rp: { id: asked.party, name: document.querySelector('.brand').textContent },
          user: { id: unpacked(asked.user), name: asked.email, displayName: asked.name },
          pubKeyCredParams: asked.algorithms.map((alg) => ({ type: 'public-key', alg })),
          excludeCredentials: credentials(asked.known),
          authenticatorSelection: { residentKey: 'discouraged', userVerification: 'discouraged' },
          attestation: 'none',
          timeout,
        },
      });
      const { clientDataJSON, attestationObject } = made.response;
      return { client: packed(clientDataJSON), attestation: packed(attestationObject) };
    },
  };

  async function act(part) {
    try {
      const answer = await acts[part.dataset.keyPart](part);
      part.querySelector('input').value = JSON.stringify(answer);
      say(part, '');
      return true;
    } catch {
      // Nobody touched it, or the browser would not: it says why itself.
      say(part, part.dataset.failed);
      return false;
    }
  }

  // Who adds a key and typed no code shows one that is there already first.
  function all(part) {
    const form = part.closest('form');
    const first = form.querySelector('[data-key-part="PROVE"]');
    const typed = form.elements.code?.value;
    return first && first !== part && !typed ? [first, part] : [part];
  }

  for (const part of document.querySelectorAll('[data-key-part]')) {
    const button = part.querySelector('button');
    if (window.location.origin !== part.dataset.origin) {
      say(part, part.dataset.elsewhere);
    } else if (!window.PublicKeyCredential) {
      say(part, part.dataset.unable);
    } else if (button) {
      button.hidden = false;
      button.addEventListener('click', async () => {
        const form = part.closest('form');
        // A key without a name is not made in vain: the page says so.
        if (form.elements.name?.value.trim() === '') return form.requestSubmit();
        button.disabled = true;
        let done = true;
        for (const one of all(part)) done = done && await act(one);
        button.disabled = false;
        if (done) form.requestSubmit();
      });
    }
  }
}
