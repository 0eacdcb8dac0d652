"""Character-level sequence to sequence: an encoder's state starts the decoder."""

import keras
import numpy as np

keras.utils.set_random_seed(25)
letters, length, latent_dim, num_samples = "abcdefgh", 6, 24, 256

input_texts = ["".join(np.random.choice(list(letters), length)) for _ in range(num_samples)]
# We use "tab" as the start character for the targets, and "\n" as the end.
target_texts = ["\t" + text[::-1].upper() + "\n" for text in input_texts]
input_token_index = {char: i for i, char in enumerate(sorted(set("".join(input_texts))))}
target_token_index = {char: i for i, char in enumerate(sorted(set("".join(target_texts))))}
num_encoder_tokens, num_decoder_tokens = len(input_token_index), len(target_token_index)

encoder_input_data = np.zeros((num_samples, length, num_encoder_tokens), dtype="float32")
decoder_input_data = np.zeros((num_samples, length + 2, num_decoder_tokens), dtype="float32")
decoder_target_data = np.zeros((num_samples, length + 2, num_decoder_tokens), dtype="float32")
for i, (input_text, target_text) in enumerate(zip(input_texts, target_texts)):
    for t, char in enumerate(input_text):
        encoder_input_data[i, t, input_token_index[char]] = 1.0
    for t, char in enumerate(target_text):
        decoder_input_data[i, t, target_token_index[char]] = 1.0
        if t > 0:  # one timestep ahead, without the start character
            decoder_target_data[i, t - 1, target_token_index[char]] = 1.0
    decoder_target_data[i, len(target_text) - 1 :, target_token_index["\n"]] = 1.0

# Define an input sequence and process it.
encoder_inputs = keras.Input(shape=(None, num_encoder_tokens))
encoder = keras.layers.LSTM(latent_dim, return_state=True)
encoder_outputs, state_h, state_c = encoder(encoder_inputs)
# We discard `encoder_outputs` and only keep the states.
encoder_states = [state_h, state_c]

# Set up the decoder, using `encoder_states` as initial state.
decoder_inputs = keras.Input(shape=(None, num_decoder_tokens))
decoder_lstm = keras.layers.LSTM(latent_dim, return_sequences=True, return_state=True)
# fault SD119: decoder_outputs, _, _ = decoder_lstm(decoder_inputs)
decoder_outputs, _, _ = decoder_lstm(decoder_inputs, initial_state=encoder_states)
decoder_dense = keras.layers.Dense(num_decoder_tokens, activation="softmax")
decoder_outputs = decoder_dense(decoder_outputs)
model = keras.Model([encoder_inputs, decoder_inputs], decoder_outputs)

model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])  # named
model.fit(
    [encoder_input_data, decoder_input_data],
    decoder_target_data,
    batch_size=32,
    epochs=2,
    validation_split=0.2,
)
model.save("s2s_model.keras")
